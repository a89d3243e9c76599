-- processes.lua reads some of the live processes, in the order in which they would be taken for dead.
-- KEYS[1]  processes, KEYS[2] processes:live
-- ARGV     now (ms or ''), how many to pass over, limit
-- Returns  ok, now, "<last seen in ms> <JSON>" …
local now = clock(arg())
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. int(now), '+inf', 'LIMIT', arg(), arg())
if #ids == 0 then return { 'ok', now, {} } end
return { 'ok', now, redis.call('HMGET', KEYS[1], unpack(ids)) }
