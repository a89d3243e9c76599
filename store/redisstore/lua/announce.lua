-- announce.lua makes a process known as live for a while, and forgets some that are not.
-- KEYS[1]  processes, KEYS[2] processes:live
-- ARGV     now (ms or ''), id, JSON without the time, ttl in ms
-- Returns  ok, now
local now = clock(arg())
local id, json, ttl = arg(), arg(), arg()
redis.call('HSET', KEYS[1], id, int(now) .. ' ' .. json)
redis.call('ZADD', KEYS[2], int(now + tonumber(ttl)), id)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[2], dead)
  redis.call('HDEL', KEYS[1], dead)
end
return { 'ok', now }
