-- The errors of a server that takes no writes at all; it says so at the first, so that nothing was written.
local function refusal(text)
  for _, code in ipairs({ 'READONLY', 'OOM', 'MISCONF', 'NOREPLICAS' }) do
    if string.find(text, code .. ' ', 1, true) then return true end
  end
end

local function message(err) return type(err) == 'table' and err.err or tostring(err) end

local replies = { 'ok', now }
local at = next_arg
for i, key in ipairs(KEYS) do
  next_arg = at + 1
  at = next_arg + tonumber(ARGV[next_arg])
  number = i
  local fine, reply = pcall(item, key)
  if not fine then
    local text = message(reply)
    if refusal(text) then return redis.error_reply(text) end
    reply = { 'error', text }
  end
  replies[i + 2] = reply
end
for command, lists in pairs({ ZADD = put_in, ZREM = taken_out }) do
  for index, list in pairs(lists) do
    for from = 1, #list, 1000 do
      local fine, err = pcall(call, command, P .. index, unpack(list, from, math.min(from + 999, #list)))
      if not fine then
        for i in pairs(list.rows) do replies[i + 2] = { 'error', message(err) } end
      end
    end
  end
end
wake(P, (woken.t and 't' or '') .. (woken.m and 'm' or ''))
return replies
