-- publish.lua makes workflows known.
-- KEYS[1]  workflows
-- ARGV     now (ms or ''), n workflows: name, JSON without the time
-- Returns  ok, now
local now = clock(arg())
for _ = 1, tonumber(arg()) do
  local name, json = arg(), arg()
  redis.call('HSET', KEYS[1], name, int(now) .. ' ' .. json)
end
return { 'ok', now }
