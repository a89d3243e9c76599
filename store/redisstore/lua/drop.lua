-- drop.lua removes the record of a deleted schedule for good, if its revision is still the one at which nothing was left of it.
-- KEYS[1]  s:<id>@<incarnation>
-- ARGV     now (ms or ''), id, incarnation, expected revision
-- Returns  ok | conflict | format, now
local row = KEYS[1]
local P = prefix(row)
local now = clock(arg())
local id, inc, expect = arg(), arg(), arg()
local head = redis.call('HGET', row, 'head')
if not head then return { 'ok', now } end
local v, rev, status = schedule(head)
if v > READS then return { 'format', now, v } end
if rev ~= expect or status ~= 'deleted' then return { 'conflict', now } end
local ref = id .. '@' .. inc
redis.call('UNLINK', row, row .. ':active', row .. ':wait:r', row .. ':wait:m', row .. ':fates', row .. ':keys')
redis.call('ZREM', P .. 'ticks', ref)
redis.call('ZREM', P .. 'timers', 's' .. ref)
redis.call('ZREM', P .. 'old', ref)
if redis.call('HGET', P .. 'ids', id) == inc then
  redis.call('HDEL', P .. 'ids', id)
  redis.call('ZREM', P .. 'list:deleted', id)
end
return { 'ok', now }
