-- createrun.lua writes a new run that belongs to no schedule, or reads the one there is.
-- KEYS[1]  r:<run id>
-- ARGV     now (ms or ''), token, run id, created, due or '', lease or '', outbox member, workflow, n fields, fields…
-- Returns  ok, now: it is new (or this very call made it before) | exists, now, fields of the run there is (as HGETALL)
local key = KEYS[1]
local P = prefix(key)
local now = clock(arg())
local token, id, created, due, lease, member, workflow = arg(), arg(), arg(), arg(), arg(), arg(), arg()
local list = fields()
local raw = redis.call('HGET', key, 'mut')
if raw then
  if (decode(raw) or {}).ct == token then return { 'ok', now } end
  return { 'exists', now, redis.call('HGETALL', key) }
end
redis.call('HSET', key, unpack(list))
redis.call('ZADD', P .. 'runs', created, id)
index(P, id, created, 'runs:free', workflow)
if due ~= '' then redis.call('ZADD', P .. 'timers', due, 'r' .. id) end
if lease ~= '' then redis.call('ZADD', P .. 'leases', lease, id) end
redis.call('ZADD', P .. 'outbox', int(now), member)
wake(P, 'm')
return { 'ok', now }
