-- trim.lua removes old runs and old history of one schedule, at most so many of each. It raises the revision when it has cut the history.
-- KEYS[1]  s:<id>@<incarnation>
-- ARGV     now (ms or ''), id, incarnation, run age in ms, run count, runs kept in any case, fate age in ms, fate count, how many to remove, how many to look at
-- Returns  ok, now, 1 if there is more to remove now, 1 if the record is of a deleted schedule with nothing left
local row = KEYS[1]
local P = prefix(row)
local now = clock(arg())
local id, inc = arg(), arg()
local run_age, run_count, run_keep = tonumber(arg()), tonumber(arg()), tonumber(arg())
local fate_age, fate_count, most, look = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local r = redis.call('HMGET', row, 'head', 'tally', 'hot')
if not r[1] then return { 'ok', now, 0, 0 } end
local v, _, status = schedule(r[1])
if not v or not r[2] or not decode(r[2]) then return { 'ok', now, 0, 0 } end -- damaged: left alone
if v > READS then return { 'format', now, v } end
local tally = decode(r[2])
local current = redis.call('HGET', P .. 'ids', id) == inc
local more, left = false, 0

if current then
  local last = tally.last_success
  if status == 'deleted' then run_keep, last = 0, nil end
  more = trim_runs(P, 'runs:s:' .. id, now - run_age, run_count, run_keep, last, inc, most, look)
  left = redis.call('ZCARD', P .. 'runs:s:' .. id) + redis.call('ZCARD', P .. 'backfills:s:' .. id)
end

local fates = row .. ':fates'
local entries, n = first(fates, now - fate_age, fate_count, look)
local gone, from = 0, 0
for i = 1, #entries, 2 do
  local rank, nominal = (i - 1) / 2, tonumber(entries[i + 1])
  local surplus = rank < n - fate_count
  -- The row of an old tick may be young: a backfill's.
  if surplus or ((decode(string.match(entries[i], '^%S+ (.*)$')) or {}).at or 0) < now - fate_age then
    if gone == most then
      more = true
      break
    end
    redis.call('ZREM', fates, entries[i])
    local nonce = string.match(entries[i], '^m%d+%-(key%-%x+) ')
    if nonce then redis.call('HDEL', row .. ':keys', nonce) end
    gone, from = gone + 1, nominal + 1
  end
end
if gone > 0 then
  local fv, rev, rest = string.match(r[1], '^(%d+) (%d+) (.*)$')
  if from > (tally.history_from or 0) then tally.history_from = from end
  redis.call('HSET', row, 'head', fv .. ' ' .. int(tonumber(rev) + 1) .. ' ' .. rest, 'tally', cjson.encode(tally))
end

local empty = status == 'deleted' and left == 0 and gone == n and not tally.active
  and not tally.waiting_regular and not tally.waiting_manual and not string.find(r[3], '"backfills":', 1, true)
return { 'ok', now, more and 1 or 0, empty and 1 or 0 }
