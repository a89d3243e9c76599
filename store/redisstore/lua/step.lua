-- step.lua records a step of a running run, by key. A step keeps the place of its first recording.
-- KEYS[1]  r:<run id>
-- ARGV     now (ms or ''), dispatch, step key, JSON
-- Returns  ok | stale | notfound | format, now
local key = KEYS[1]
local now = clock(arg())
local dispatch, step, json = arg(), arg(), arg()
local raw = redis.call('HGET', key, 'mut')
if not raw then return { 'notfound', now } end
local mut = progress(raw)
if not mut then return { 'stale', now } end
if mut.v > READS then return { 'format', now, mut.v } end
if mut.status ~= 'running' or mut.dispatch ~= tonumber(dispatch) then return { 'stale', now } end
local steps = key .. ':steps'
local old = redis.call('HGET', steps, step)
local place = old and string.match(old, '^(%d+) ') or int(redis.call('HLEN', steps) + 1)
redis.call('HSET', steps, step, place .. ' ' .. json)
return { 'ok', now }
