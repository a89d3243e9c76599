-- trimnext.lua reads which schedules retention looks at next: the current incarnations by status and id, then the replaced ones.
-- KEYS[1]  trim, "<list> <member>" looked at last
-- ARGV     now (ms or ''), limit
-- Returns  ok, now, list, member, <id>@<incarnation> …; fewer than limit when the round ends
local P = prefix(KEYS[1])
local now = clock(arg())
local limit = tonumber(arg())
local list, last = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (.*)$')
local found = {}
for _, name in ipairs({ 'list:active', 'list:paused', 'list:finished', 'list:deleted', 'old' }) do
  if not list or list == name then
    local from = list and '(' .. last or '-'
    list, last = nil, nil
    for _, member in ipairs(redis.call('ZRANGEBYLEX', P .. name, from, '+', 'LIMIT', 0, limit - #found / 3)) do
      local ref = member
      if name ~= 'old' then ref = member .. '@' .. (redis.call('HGET', P .. 'ids', member) or '') end
      found[#found + 1] = name
      found[#found + 1] = member
      found[#found + 1] = ref
    end
    if #found / 3 >= limit then break end
  end
end
return { 'ok', now, found }
