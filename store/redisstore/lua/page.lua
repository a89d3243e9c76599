-- page.lua reads part of a list that is sorted by creation, newest first, members of one instant by id, descending.
-- KEYS[1]  a sorted set
-- ARGV     now (unused), score and member after which to go on ('' and '': from the start), limit
-- Returns  ok, now, members and scores in turn
local key = KEYS[1]
local now = clock(arg())
local score, member, limit = arg(), arg(), tonumber(arg())
local from = 0
if score ~= '' then
  if redis.call('ZSCORE', key, member) == score then
    from = redis.call('ZREVRANK', key, member) + 1
  else
    -- The entry is gone or lies in another shard: look its place up.
    local low, high = 0, redis.call('ZCARD', key)
    while low < high do
      local mid = math.floor((low + high) / 2)
      local e = redis.call('ZREVRANGE', key, mid, mid, 'WITHSCORES')
      local s = tonumber(e[2])
      if s > tonumber(score) or (s == tonumber(score) and e[1] >= member) then low = mid + 1 else high = mid end
    end
    from = low
  end
end
return { 'ok', now, redis.call('ZREVRANGE', key, from, from + limit - 1, 'WITHSCORES') }
