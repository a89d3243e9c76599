-- claim.lua makes a worker the holder of a pending run's dispatch; the run has no time to be looked at then but the end of its lease. The same claim made twice succeeds twice.
-- KEYS[1]  r:<run id>
-- ARGV     now (ms or ''), run id, dispatch, worker, token, length of a lease in ms
-- Returns  ok, now, fields of the run (as HGETALL) | stale | notfound, now
local key = KEYS[1]
local P = prefix(key)
local now = clock(arg())
local id, dispatch, worker, token, lease = arg(), arg(), arg(), arg(), arg()
local raw = redis.call('HGET', key, 'mut')
if not raw then return { 'notfound', now } end
local mut = cjson.decode(raw)
if mut.v > FORMAT then return { 'format', now } end
if mut.dispatch ~= tonumber(dispatch) then return { 'stale', now } end
if mut.status == 'running' and mut.token == token then return { 'ok', now, redis.call('HGETALL', key) } end
if mut.status ~= 'pending' or mut.cancel_at then return { 'stale', now } end
mut.status, mut.worker, mut.token = 'running', worker, token
mut.started_at = mut.started_at or now
mut.due = nil
mut.revision = mut.revision + 1
local till = int(now + tonumber(lease))
redis.call('HSET', key, 'mut', cjson.encode(mut), 'lease', till)
redis.call('ZADD', P .. 'leases', till, id)
redis.call('ZREM', P .. 'timers', 'r' .. id)
return { 'ok', now, redis.call('HGETALL', key) }
