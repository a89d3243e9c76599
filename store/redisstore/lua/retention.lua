-- retention.lua is put before the scripts that remove what retention no longer keeps.

-- drop_run removes an ended run and all that names it.
local function drop_run(P, list, id)
  local key = P .. 'r:' .. id
  local fix = redis.call('HGET', key, 'fix')
  if fix then redis.call('ZREM', P .. 'runs:w:' .. ((decode(fix) or {}).workflow or ''), id) end
  redis.call('UNLINK', key, key .. ':steps', key .. ':log')
  for _, name in ipairs({ 'runs', list, 'runs:failed', 'runs:cancelled', 'leases' }) do
    redis.call('ZREM', P .. name, id)
  end
  redis.call('ZREM', P .. 'timers', 'r' .. id)
end

-- first reads what may have to go of a list: its oldest entries, at most `look`, that lie beyond the newest `count` or before cutoff. It gives them with their scores
-- in turn, and how long the list is. What stays is not read: a look at a schedule that has nothing to remove costs the same however much it keeps.
local function first(list, cutoff, count, look)
  local n = redis.call('ZCARD', list)
  local some = math.min(look, math.max(n - count, redis.call('ZCOUNT', list, '-inf', '(' .. int(cutoff))))
  return some > 0 and redis.call('ZRANGE', list, 0, some - 1, 'WITHSCORES') or {}, n
end

-- trim_runs looks at the oldest `look` runs of a list and removes, at most `most`, those that ended before cutoff or lie beyond the newest `count`; not the
-- newest `keep` and not `last`, unless they are of another incarnation than `inc`; never active ones. It is true when it knows of more.
local function trim_runs(P, list, cutoff, count, keep, last, inc, most, look)
  local entries, n = first(P .. list, cutoff, count, look)
  local gone = 0
  for i = 1, #entries, 2 do
    local rank, id = (i - 1) / 2, entries[i]
    local surplus = rank < n - count
    local kept = id == last
    if rank >= n - keep then
      local fix = redis.call('HGET', P .. 'r:' .. id, 'fix')
      kept = fix and (decode(fix) or {}).inc == inc
    end
    if not kept and not redis.call('ZSCORE', P .. 'runs:active', id) then
      local raw = redis.call('HGET', P .. 'r:' .. id, 'mut')
      local mut = progress(raw)
      local at = mut and mut.ended_at
      -- A run of a newer format is left to a newer program.
      if not (mut and mut.v > READS) and (surplus or not at or at < cutoff) then
        if gone == most then return true end
        drop_run(P, list, id)
        gone = gone + 1
      end
    end
  end
  return false
end
