-- lock.lua holds or gives up one named lock: a string "<until in ms> <holder>".
-- KEYS[1]  lock:<name>
-- ARGV     now (ms or ''), hold | release, holder, ttl in ms, ms after which the server may forget the key
-- Returns  ok, now, the holder now or ''
local key = KEYS[1]
local now = clock(arg())
local act, holder, ttl, forget = arg(), arg(), arg(), arg()
local value = redis.call('GET', key)
local has = ''
if value then
  local till, who = string.match(value, '^(%d+) (.*)$')
  if tonumber(till) > now then has = who end
end
if act == 'hold' and (has == '' or has == holder) then
  redis.call('SET', key, int(now + tonumber(ttl)) .. ' ' .. holder, 'PX', forget)
  has = holder
elseif act == 'release' and has == holder then
  redis.call('DEL', key)
  has = ''
end
return { 'ok', now, has }
