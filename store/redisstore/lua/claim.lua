-- claim.lua makes workers the holders of pending runs' dispatches; a run has no time to be looked at then but the end of its lease. The same claim made twice
-- succeeds twice. A bulk script (bulk.lua): for each
-- KEYS     r:<run id>
-- ARGV     run id, dispatch, worker, token, length of a lease in ms
-- Returns  ok, fields of the run (as HGETALL) | stale | notfound | format, its format
local function item(key)
  local id, dispatch, worker, token, lease = args(5)
  local all = call('HGETALL', key)
  local at = {}
  for i = 1, #all, 2 do at[all[i]] = i + 1 end
  if not at.mut then return { 'notfound' } end
  local mut = progress(all[at.mut])
  if not mut then return { 'stale' } end -- damaged: it can only end
  if mut.v > READS then return { 'format', mut.v } end
  if mut.dispatch ~= tonumber(dispatch) then return { 'stale' } end
  if mut.status == 'running' and mut.token == token then return { 'ok', all } end
  if mut.status ~= 'pending' or mut.cancel_at then return { 'stale' } end
  -- The end of the run has to be written into its schedule: who could not do that does not begin.
  local fix = decode(all[at.fix])
  if not fix then return { 'stale' } end
  local head = fix.schedule and call('HGET', P .. 's:' .. fix.schedule .. '@' .. fix.inc, 'head')
  local v = head and schedule(head) or 0
  if v > READS then return { 'format', v } end
  mut.status, mut.worker, mut.token = 'running', worker, token
  mut.started_at = mut.started_at or now
  mut.due = nil
  mut.revision = mut.revision + 1
  local till = int(now + tonumber(lease))
  local changed = { mut = cjson.encode(mut), lease = till }
  call('HSET', key, 'mut', changed.mut, 'lease', till)
  put('leases', id, till)
  take('timers', 'r' .. id)
  for field, value in pairs(changed) do
    local i = at[field] or #all + 2
    all[i - 1], all[i] = field, value
  end
  return { 'ok', all }
end
