-- page.lua reads part of a sorted set: the highest scores first and members of one score in descending order, or, upwards, the other way round.
-- KEYS[1]  a sorted set
-- ARGV     now (unused), score and member after which to go on ('' and '': from the start), limit, 1: upwards
-- Returns  ok, now, members and scores in turn
local key = KEYS[1]
local now = clock(arg())
local score, member, limit, up = arg(), arg(), tonumber(arg()), arg() == '1'
local function range(first, last) return redis.call(up and 'ZRANGE' or 'ZREVRANGE', key, first, last, 'WITHSCORES') end
-- passed reports whether an entry comes no later than where to go on from.
local function passed(e)
  local s, at = tonumber(e[2]), tonumber(score)
  if s == at then return up and e[1] <= member or not up and e[1] >= member end
  return up and s < at or not up and s > at
end
local from = 0
if score ~= '' then
  if redis.call('ZSCORE', key, member) == score then
    local rank = redis.call('ZREVRANK', key, member)
    from = up and redis.call('ZCARD', key) - rank or rank + 1
  else
    -- The entry is gone or lies in another shard: look its place up.
    local low, high = 0, redis.call('ZCARD', key)
    while low < high do
      local mid = math.floor((low + high) / 2)
      if passed(range(mid, mid)) then low = mid + 1 else high = mid end
    end
    from = low
  end
end
return { 'ok', now, range(from, from + limit - 1) }
