-- trimrest.lua removes old runs without a schedule, old ended backfills, and old entries of the list of missed ticks, of one shard.
-- KEYS[1]  backfills
-- ARGV     now (ms or ''), age of runs in ms, age of backfills in ms, how many to remove, how many to look at, age of missed ticks in ms
-- Returns  ok, now, 1 if there is more to remove now
local P = prefix(KEYS[1])
local now = clock(arg())
local run_age, backfill_age, most, look = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
redis.call('ZREMRANGEBYSCORE', P .. 'missed', '-inf', '(' .. int(now - tonumber(arg())))
local more = trim_runs(P, 'runs:free', now - run_age, math.huge, 0, nil, nil, most, look)
local gone = 0
for _, bf in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now - backfill_age), 'LIMIT', 0, look)) do
  local raw = redis.call('HGET', P .. 'b:' .. bf, 'tally')
  local t = raw and decode(raw) or {}
  local row = raw and redis.call('HGET', P .. 'b:' .. bf, 'row')
  if row and ((decode(row) or {}).v or 0) > READS then
    -- a newer program's: left to it
  elseif not raw or (t.ended and t.ended < now - backfill_age and not t.active) then
    if gone == most then
      more = true
      break
    end
    if t.schedule then redis.call('ZREM', P .. 'backfills:s:' .. t.schedule, bf) end
    redis.call('ZREM', KEYS[1], bf)
    redis.call('UNLINK', P .. 'b:' .. bf)
    gone = gone + 1
  end
end
return { 'ok', now, more and 1 or 0 }
