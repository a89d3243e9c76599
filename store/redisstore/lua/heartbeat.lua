-- heartbeat.lua renews the leases of one shard's runs that are still held under the dispatches named.
-- KEYS[1]  leases
-- ARGV     now (ms or ''), length of a lease in ms, n runs: id, dispatch
-- Returns  ok, now, then for each run: held | cancel | lost, reason of the cancel request or ''
local leases = KEYS[1]
local P = prefix(leases)
local now = clock(arg())
local till = int(now + tonumber(arg()))
local reply = { 'ok', now }
for _ = 1, tonumber(arg()) do
  local id, dispatch = arg(), tonumber(arg())
  local raw = redis.call('HGET', P .. 'r:' .. id, 'mut')
  local mut = progress(raw)
  local answer, reason = 'lost', ''
  if mut and mut.v <= READS and mut.status == 'running' and mut.dispatch == dispatch then
    redis.call('HSET', P .. 'r:' .. id, 'lease', till)
    redis.call('ZADD', leases, till, id)
    answer = 'held'
    if mut.cancel_at then answer, reason = 'cancel', mut.cancel_reason or '' end
  end
  reply[#reply + 1] = answer
  reply[#reply + 1] = reason
end
return reply
