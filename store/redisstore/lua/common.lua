-- common.lua is put before every other script. It decides nothing: it reads the clock, takes rows apart and keeps the indexes of a run.
-- All keys lie in one hash slot; those that are not in KEYS are built from the prefix of KEYS[1], "pyworkflow:{<namespace>:<shard>}:".
-- Every script returns an array: a code first (ok, conflict, exists, notfound, stale, clock, format, damaged), the clock in ms second.

-- Before it stands a line with READS, the newest format of a record that the program reads; one that says more is left alone (format, now, its format).

-- clock gives ms: the argument, or the server's own time when that is empty.
local function clock(ms)
  if ms ~= '' then return tonumber(ms) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- decode reads a JSON object; what is none, in a record that was damaged, is nil.
local function decode(text)
  local ok, t = pcall(cjson.decode, text or '')
  if ok and type(t) == 'table' then return t end
end

-- progress reads what changes of a run; nil: it is damaged.
local function progress(text)
  local mut = decode(text)
  if mut and type(mut.v) == 'number' and type(mut.revision) == 'number' and type(mut.dispatch) == 'number' then return mut end
end

local function int(n) return string.format('%.0f', n) end

local function prefix(key) return string.match(key, '^(.-}:)') end

local call, ARGV = redis.call, ARGV

local next_arg = 0
-- args gives the next n of ARGV.
local function args(n)
  local from = next_arg + 1
  next_arg = next_arg + n
  return unpack(ARGV, from, next_arg)
end
-- arg gives the next ARGV.
local function arg()
  next_arg = next_arg + 1
  return ARGV[next_arg]
end

-- fields gives the next <n> pairs of ARGV as one list, n first.
local function fields()
  local list = {}
  for i = 1, 2 * tonumber(arg()) do list[i] = arg() end
  return list
end

-- schedule takes the head of a schedule apart: "<format> <revision> <status> <tokens> <workflow>".
local function schedule(head)
  local v, rev, status, tokens, workflow = string.match(head, '^(%d+) (%d+) (%S+) (%S+) (.*)$')
  return tonumber(v), rev, status, tokens, workflow
end

local ended = { completed = true, failed = true, cancelled = true }

-- timed puts a member of a zset at a time, or removes it when that is empty or nil.
local function timed(key, member, ms)
  if ms and ms ~= '' then
    redis.call('ZADD', key, ms, member)
  else
    redis.call('ZREM', key, member)
  end
end

-- log appends events to a run's log, "<token or -> <JSON>" each, which keeps the newest 1,000; how many are gone stands in the run's row. The last entry of a call
-- carries its token.
local function log(key, events, token)
  if #events == 0 then return end
  for i, e in ipairs(events) do events[i] = (i == #events and token or '-') .. ' ' .. e end
  local over = redis.call('RPUSH', key .. ':log', unpack(events)) - 1000
  if over > 0 then
    redis.call('LTRIM', key .. ':log', over, -1)
    redis.call('HINCRBY', key, 'logged', over)
  end
end

-- index adds a new run to the lists of its shard other than that of all runs.
local function index(P, id, created, list, workflow)
  redis.call('ZADD', P .. list, created, id)
  redis.call('ZADD', P .. 'runs:w:' .. workflow, created, id)
  redis.call('ZADD', P .. 'runs:active', created, id)
end

local function wake(P, what)
  if what ~= '' then redis.call('PUBLISH', P .. 'wake', what) end
end
