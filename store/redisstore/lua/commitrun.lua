-- commitrun.lua writes transitions of runs, each if its run's revision is still the one it was computed on. The end of a run leaves the active set, is
-- counted in the tally of its schedule and of its backfill, raises the schedule's revision, and makes the schedule due if the tally says so.
-- A bulk script (bulk.lua): for each
-- KEYS     r:<run id>
-- ARGV     token, expected revision ('': the record is damaged, any), time of the change, the earliest now at which that is believed,
--          run id, status, dispatch, due or '', lease or '', score in the active set or '', outbox member or '', <id>@<incarnation> or '',
--          n fields, fields…, n events: JSON,
--          and if it ends and has a schedule: when, successful, failed, cancelled, backfill id or '', 1 if it is the last success
-- Returns  ok | conflict | notfound | clock | format, its format
local function item(key)
  local token, expect, at, earliest, id, status, dispatch, due, lease, score, member, ref = args(12)
  local list, events = fields(), {}
  for i = 1, tonumber(arg()) do events[i] = arg() end

  local old = call('HMGET', key, 'mut', 'lease', 'result', 'error')
  if not old[1] and (expect ~= '' or call('EXISTS', key) == 0) then return { 'notfound' } end
  local mut = progress(old[1])
  local damaged = not mut
  mut = mut or {}
  if not damaged and mut.v > READS then return { 'format', mut.v } end
  if mut.ct == token then return { 'ok' } end
  if (expect ~= '' and mut.revision ~= tonumber(expect)) or ended[mut.status] then return { 'conflict' } end
  if now < tonumber(earliest) then return { 'clock' } end

  local row, head, v, rev, rest, counts
  if ended[status] and ref ~= '' then
    row = P .. 's:' .. ref
    head, counts = unpack(call('HMGET', row, 'head', 'tally'))
    if head then
      v, rev, rest = string.match(head, '^(%d+) (%d+) (.*)$')
      if not v then
        head = nil -- damaged: nothing can be counted
      elseif tonumber(v) > READS then return { 'format', tonumber(v) } end
    end
  end

  -- The run. A heartbeat that came between is not undone.
  if lease ~= '' and old[2] and mut.status == 'running' and mut.dispatch == tonumber(dispatch) and (tonumber(old[2]) or 0) > tonumber(lease) then
    lease = old[2]
  end
  local has, gone = {}, {}
  for i = 1, #list, 2 do has[list[i]] = true end
  for i, f in ipairs({ 'result', 'error' }) do
    if old[i + 2] and not has[f] then gone[#gone + 1] = f end
  end
  if lease ~= '' or old[2] then list[#list + 1], list[#list + 2] = 'lease', lease end
  call('HSET', key, unpack(list))
  if #gone > 0 then call('HDEL', key, unpack(gone)) end
  if status == 'running' and lease ~= '' then put('leases', id, lease) else take('leases', id) end
  if due ~= '' then
    put('timers', 'r' .. id, due)
  elseif mut.due or mut.status ~= 'running' then
    take('timers', 'r' .. id)
  end
  if due ~= '' and (not mut.due or tonumber(due) < mut.due) then woken.m = true end
  if member ~= '' then
    put('outbox', member, at)
    woken.m = true
  end

  if ended[status] then
    local created = (damaged or status ~= 'completed') and call('ZSCORE', P .. 'runs:active', id)
    if damaged and not created then head = nil end -- it was counted before
    take('runs:active', id)
    if created and status ~= 'completed' then put('runs:' .. status, id, created) end
  elseif ref ~= '' and score ~= '' then
    call('ZADD', P .. 's:' .. ref .. ':active', 'XX', score, id)
  end

  if head then
    local when, successful, failed, cancelled, backfill, success = args(6)
    call('ZREM', row .. ':active', id)
    local function add(t, field, n)
      local sum = (t[field] or 0) + tonumber(n)
      if sum == 0 then t[field] = nil else t[field] = sum end
    end
    local tally = decode(counts)
    if not tally then -- damaged: nothing can be counted
      log(key, events, token)
      return { 'ok' }
    end
    add(tally, 'active', -1)
    add(tally, 'successful', successful)
    add(tally, 'failed', failed)
    add(tally, 'cancelled', cancelled)
    if backfill ~= '' then add(tally, 'active_backfill', -1) end
    if success == '1' then tally.last_success = id end
    if tally.anchor_run == id then tally.anchor_end = tonumber(when) end
    call('HSET', row, 'head', v .. ' ' .. int(tonumber(rev) + 1) .. ' ' .. rest, 'tally', cjson.encode(tally))
    if tally.wake_on_end then -- an earlier timer is a look that found nothing to do then: this one is news
      put('timers', 's' .. ref, when)
      woken.m = true
    end
    local its = backfill ~= '' and call('HGET', P .. 'b:' .. backfill, 'tally')
    if its then
      local t = decode(its)
      if t then
        add(t, 'active', -1)
        add(t, 'successful', successful)
        add(t, 'failed', failed)
        add(t, 'cancelled', cancelled)
        call('HSET', P .. 'b:' .. backfill, 'tally', cjson.encode(t))
      end
    end
  end

  log(key, events, token)
  return { 'ok' }
end
