-- commit.lua writes changes of schedules, each all or nothing, if its revision is still the one the change was computed on. A bulk script (bulk.lua): for each
-- KEYS     s:<id>@<incarnation>, the schedule's row
-- ARGV     token, expected revision ('0': create), time of the change, the earliest now at which that is believed,
--          id, incarnation, status, workflow, format, rec, hot, tally, next tick due or '', timer due or '',
--          1 if rows of the history may take the place of others,
--          n cancels:   run id, reason, deadline or ''
--          n fates:     nominal, key, JSON
--          how many missed ticks the shard keeps, n missed: member
--          popped regular, n pushed: JSON; popped manual, n pushed: JSON
--          n runs:      id, created, due or '', lease or '', score in the active set, outbox member or '', workflow, n fields, fields…; the first is fix
--          n backfills: id, created, row, tally
-- Returns  ok | conflict | exists | notfound | clock | format, its format
local function item(row)
  local token, expect, at, earliest, id, inc, status, workflow, format, rec, hot, tally, tick, timer, replaces, n = args(16)
  local ref = id .. '@' .. inc
  local cancels = {}
  for i = 1, tonumber(n) do cancels[i] = { run = arg(), reason = arg(), deadline = arg() } end

  local head, was = unpack(call('HMGET', row, 'head', 'hot'))
  local old_status, old_workflow, tokens, replaced
  if head then
    local v, rev
    v, rev, old_status, tokens, old_workflow = schedule(head)
    if v > READS then return { 'format', v } end
    if string.find(tokens, token, 1, true) then return { 'ok' } end
    if expect == '0' then return { 'exists' } end
    if rev ~= expect then return { 'conflict' } end
  elseif expect ~= '0' then
    return { 'notfound' }
  else
    replaced = call('HGET', P .. 'ids', id)
    local other = replaced and call('HGET', P .. 's:' .. id .. '@' .. replaced, 'head')
    if other then
      local v, _, s = schedule(other)
      if v > READS then return { 'format', v } end
      if s ~= 'deleted' then return { 'exists' } end
    end
  end
  if now < tonumber(earliest) then return { 'clock' } end
  for _, c in ipairs(cancels) do
    local raw = call('HGET', P .. 'r:' .. c.run, 'mut')
    local mut = progress(raw)
    if mut and mut.v > READS then return { 'format', mut.v } end
  end

  -- The row. The tokens of the last 16 commits are kept, all of one length: a client may repeat a call seconds later, and others go on meanwhile.
  tokens = tokens and string.sub(token .. ',' .. tokens, 1, 16 * (#token + 1) - 1) or token
  call('HSET', row, 'head', format .. ' ' .. int(tonumber(expect) + 1) .. ' ' .. status .. ' ' .. tokens .. ' ' .. workflow,
    'rec', rec, 'hot', hot, 'tally', tally)

  -- The lists of current incarnations.
  if expect == '0' then
    call('HSET', P .. 'ids', id, inc)
    if replaced then
      call('ZREM', P .. 'list:deleted', id)
      call('ZADD', P .. 'old', 0, id .. '@' .. replaced)
    end
  end
  if old_status ~= status or old_workflow ~= workflow then
    if expect == '0' or call('HGET', P .. 'ids', id) == inc then
      if old_status and old_status ~= status then call('ZREM', P .. 'list:' .. old_status, id) end
      if old_workflow and (old_workflow ~= workflow or status == 'deleted') then call('ZREM', P .. 'list:w:' .. old_workflow, id) end
      call('ZADD', P .. 'list:' .. status, 0, id)
      if status ~= 'deleted' then call('ZADD', P .. 'list:w:' .. workflow, 0, id) end
    end
  end

  -- The timers. Listeners are woken for what is due sooner than they know.
  if tick ~= '' then put('ticks', ref, tick) else take('ticks', ref) end
  local before = old_status == 'active' and tonumber(string.match(was or '', '"due":(%d+)'))
  if tick ~= '' and (not before or tonumber(tick) < before) then woken.t = true end
  if timer ~= '' then put('timers', 's' .. ref, timer) else take('timers', 's' .. ref) end
  if timer ~= '' and tonumber(timer) <= tonumber(at) then woken.m = true end

  -- The history: one row a tick.
  local fates = row .. ':fates'
  for _ = 1, tonumber(arg()) do
    local nominal, key, json = args(3)
    key = key .. ' '
    if replaces == '1' then
      for _, m in ipairs(call('ZRANGEBYSCORE', fates, nominal, nominal)) do
        if string.sub(m, 1, #key) == key then call('ZREM', fates, m) end
      end
    end
    call('ZADD', fates, nominal, key .. json)
    local nonce = string.byte(key) == 109 and string.match(key, '^m%d+%-(key%-%x+) $') -- of an idempotency key
    if nonce then call('HSET', row .. ':keys', nonce, nominal) end
  end

  -- The latest missed ticks of the shard.
  local missed_most, missed = tonumber(arg()), tonumber(arg())
  for _ = 1, missed do call('ZADD', P .. 'missed', at, arg()) end
  if missed > 0 then call('ZREMRANGEBYRANK', P .. 'missed', 0, -missed_most - 1) end

  -- What waits.
  for _, list in ipairs({ row .. ':wait:r', row .. ':wait:m' }) do
    local pop = arg()
    if pop ~= '0' then call('LTRIM', list, pop, -1) end
    for _ = 1, tonumber(arg()) do call('RPUSH', list, arg()) end
  end

  -- Runs that start. One that exists is left as it is.
  for _ = 1, tonumber(arg()) do
    local run, created, due, lease, score, member, flow, n, first, fix = args(10)
    local key, from = P .. 'r:' .. run, next_arg + 1
    next_arg = next_arg + 2 * tonumber(n) - 2
    if call('HSETNX', key, first, fix) == 1 then
      call('HSET', key, unpack(ARGV, from, next_arg))
      call('ZADD', row .. ':active', score, run)
      put('runs', run, created)
      put('runs:s:' .. id, run, created)
      put('runs:w:' .. flow, run, created)
      put('runs:active', run, created)
      if due ~= '' then put('timers', 'r' .. run, due) end
      if lease ~= '' then put('leases', run, lease) end
      if member ~= '' then
        put('outbox', member, at)
        woken.m = true
      end
    end
  end

  -- Runs asked to cancel. The first request stands.
  for _, c in ipairs(cancels) do
    local run, reason, deadline = c.run, c.reason, c.deadline
    local key = P .. 'r:' .. run
    local raw = call('HGET', key, 'mut') -- it may be one that starts with this change
    local mut = progress(raw) -- a damaged one is ended by a keeper
    if mut and not ended[mut.status] and not mut.cancel_at then
      mut.cancel_at, mut.cancel_deadline, mut.cancel_reason = tonumber(at), tonumber(deadline), reason
      mut.due = mut.status == 'running' and tonumber(deadline) or tonumber(at)
      mut.revision = mut.revision + 1
      call('HSET', key, 'mut', cjson.encode(mut))
      local half = string.match(call('ZSCORE', row .. ':active', run) or '', '%.5$') or '' -- of a backfill
      call('ZADD', row .. ':active', 'XX', (deadline == '' and '1' or deadline) .. half, run)
      put('timers', 'r' .. run, int(mut.due))
      woken.m = true
    end
  end

  for _ = 1, tonumber(arg()) do
    local bf, created, json, counts = args(4)
    call('HSET', P .. 'b:' .. bf, 'row', json, 'tally', counts)
    call('ZADD', P .. 'backfills', created, bf)
    call('ZADD', P .. 'backfills:s:' .. id, created, bf)
  end

  return { 'ok' }
end
