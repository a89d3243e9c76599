-- events.lua appends to a run's log, which keeps the newest 1,000.
-- KEYS[1]  r:<run id>
-- ARGV     now (ms or ''), token, n events: JSON
-- Returns  ok | notfound, now
local key = KEYS[1]
local now = clock(arg())
local token = arg()
local events = {}
for i = 1, tonumber(arg()) do events[i] = arg() end
if redis.call('EXISTS', key) == 0 then return { 'notfound', now } end
for _, entry in ipairs(redis.call('LRANGE', key .. ':log', -32, -1)) do
  if string.sub(entry, 1, #token) == token then return { 'ok', now } end -- the same call, made before
end
log(key, events, token)
return { 'ok', now }
