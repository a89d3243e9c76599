-- audit.lua compares records with the entries of the indexes that are made from them, and writes those anew that differ. Records stay as they are, but that a
-- running run without a lease gets one that ends now. What is compared is written in the same script: nothing can come between.
-- KEYS[1]  audit
-- ARGV     now (ms or ''), how far ahead the next look at a schedule in which something waits may lie (ms), active runs of one schedule to look at,
--          n targets: s<id>@<incarnation> or r<run id>
-- Returns  ok, now, in turn: target, index (ticks, timers, leases, active, runs), score before or '', score now or ''
local P = prefix(KEYS[1])
local now = clock(arg())
local ahead, look = tonumber(arg()), tonumber(arg())
local mended, waken = {}, false

-- place sees to it that a member lies at a score, or, with nil, nowhere; it tells of that if something was wrong, or if it is told that it was.
local function place(target, index, key, member, score, wrong)
  local was = redis.call('ZSCORE', key, member) or nil
  if not wrong and (was and tonumber(was)) == (score and tonumber(score)) then return end
  timed(key, member, score)
  waken = true
  for _, v in ipairs({ target, index, was or '', score or '' }) do mended[#mended + 1] = v end
end

-- decoded takes JSON apart; nil when it is none.
local function decoded(text)
  local ok, t = pcall(cjson.decode, text or '')
  return ok and type(t) == 'table' and t or nil
end

-- known reports whether a format is one that is read.
local function known(v)
  v = tonumber(v)
  return v and v <= READS
end

local function audit_run(id)
  local key, target = P .. 'r:' .. id, 'r' .. id
  local r = redis.call('HMGET', key, 'mut', 'fix', 'lease')
  if not r[1] and redis.call('EXISTS', key) == 0 then
    place(target, 'timers', P .. 'timers', target, nil)
    place(target, 'leases', P .. 'leases', id, nil)
    place(target, 'runs', P .. 'runs:active', id, nil)
    return
  end
  local mut, fix = decoded(r[1]), decoded(r[2])
  if not mut or not fix or not known(mut.v) then return end
  local active, lease, score = not ended[mut.status], nil, nil
  if mut.status == 'running' then
    lease = r[3]
    if not lease or lease == '' then
      lease = int(now)
      redis.call('HSET', key, 'lease', lease)
    end
  end
  place(target, 'timers', P .. 'timers', target, mut.due and int(mut.due))
  place(target, 'leases', P .. 'leases', id, lease, lease and not r[3])
  place(target, 'runs', P .. 'runs:active', id, active and int(fix.created_at) or nil)
  local row = fix.schedule and P .. 's:' .. fix.schedule .. '@' .. fix.inc
  if not row or redis.call('EXISTS', row) == 0 then return end
  if active then
    score = mut.cancel_at and (mut.cancel_deadline and int(mut.cancel_deadline) or '1') or '0'
    if fix.backfill then score = score .. '.5' end
  end
  place(target, 'active', row .. ':active', id, score)
end

local function audit_schedule(ref)
  local row, target = P .. 's:' .. ref, 's' .. ref
  local r = redis.call('HMGET', row, 'head', 'hot', 'tally')
  if not r[1] then
    place(target, 'ticks', P .. 'ticks', ref, nil)
    place(target, 'timers', P .. 'timers', target, nil)
    return
  end
  local v, _, status = schedule(r[1])
  local hot, tally = decoded(r[2]), decoded(r[3])
  if not known(v) or not hot or not tally then return end
  place(target, 'ticks', P .. 'ticks', ref, status == 'active' and hot.due and int(hot.due) or nil)
  if (tally.waiting_regular or 0) + (tally.waiting_manual or 0) > 0 or #(hot.backfills or {}) > 0 then
    local at = redis.call('ZSCORE', P .. 'timers', target)
    if not at or tonumber(at) > now + ahead then place(target, 'timers', P .. 'timers', target, int(now)) end
  end
  for _, id in ipairs(redis.call('ZRANGE', row .. ':active', 0, look - 1)) do
    local mut = decoded(redis.call('HGET', P .. 'r:' .. id, 'mut'))
    if not mut then -- gone; a damaged one stays until it has ended
      if redis.call('EXISTS', P .. 'r:' .. id) == 0 then place('r' .. id, 'active', row .. ':active', id, nil) end
    elseif ended[mut.status] or not redis.call('ZSCORE', P .. 'runs:active', id) then
      audit_run(id)
    end
  end
end

for _ = 1, tonumber(arg()) do
  local kind, name = string.match(arg(), '^(.)(.*)$')
  if kind == 's' then audit_schedule(name) else audit_run(name) end
end
if waken then wake(P, 'tm') end
return { 'ok', now, mended }
