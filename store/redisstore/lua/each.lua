-- The errors of a server that takes no writes at all; it says so at the first, so that nothing was written.
local function refusal(text)
  for _, code in ipairs({ 'READONLY', 'OOM', 'MISCONF', 'NOREPLICAS' }) do
    if string.find(text, code .. ' ', 1, true) then return true end
  end
end

local replies = { 'ok', now }
local at = next_arg
for i, key in ipairs(KEYS) do
  next_arg = at + 1
  at = next_arg + tonumber(ARGV[next_arg])
  local fine, reply = pcall(item, key)
  if not fine then
    local text = type(reply) == 'table' and reply.err or tostring(reply)
    if refusal(text) then return redis.error_reply(text) end
    reply = { 'error', text }
  end
  replies[i + 2] = reply
end
for index, entries in pairs(later) do
  local add, gone = {}, {}
  for member, score in pairs(entries) do
    if score then
      add[#add + 1] = score
      add[#add + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
  for from = 1, #add, 1000 do redis.call('ZADD', P .. index, unpack(add, from, math.min(from + 999, #add))) end
  for from = 1, #gone, 1000 do redis.call('ZREM', P .. index, unpack(gone, from, math.min(from + 999, #gone))) end
end
wake(P, (woken.t and 't' or '') .. (woken.m and 'm' or ''))
return replies
