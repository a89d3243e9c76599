-- load.lua reads what decisions need of schedules. A bulk script (bulk.lua): for each
-- KEYS     s:<id>@<incarnation>, the schedule's row
-- ARGV     nothing
-- Returns  ok, head, rec, hot, tally, heads of the regular and of the manual waiting ticks, active runs (id, score …), first backfill (row, tally)
--          notfound | damaged | format, its format
local function item(row)
  local r = call('HMGET', row, 'head', 'rec', 'hot', 'tally')
  if not r[1] then return { 'notfound' } end
  local v = schedule(r[1])
  if not v or not r[2] or not r[3] or not r[4] then return { 'damaged' } end
  if v > READS then return { 'format', v } end
  local tally, hot = r[4], r[3]
  local last = tonumber(string.match(tally, '"head_wanted":(%d+)') or '1') - 1
  local function head(count, key)
    if not string.find(tally, count, 1, true) then return {} end
    return call('LRANGE', row .. key, 0, last)
  end
  local active = {}
  if string.find(tally, '"active":', 1, true) then active = call('ZRANGE', row .. ':active', 0, last, 'WITHSCORES') end
  local backfill = {}
  local first = string.match(hot, '"backfills":%["([^"]+)"')
  if first then backfill = call('HMGET', P .. 'b:' .. first, 'row', 'tally') end
  return { 'ok', r[1], r[2], hot, tally, head('"waiting_regular":', ':wait:r'), head('"waiting_manual":', ':wait:m'), active, backfill }
end
