-- bulk.lua is put before, and each.lua behind, the scripts that do the same for several rows of a shard: they define item(key), which returns a code and what else there is.
-- KEYS     the rows
-- ARGV     now (ms or ''), then for each row how many arguments it has, and those
-- Returns  ok, now, then for each row what its item returns; error and a message if it raised an error
local now = clock(arg())
local P = prefix(KEYS[1])

-- Entries of the shard's indexes are written when all rows are, with one command an index: no item reads an index through which it writes, and none takes out what
-- another puts in. An index that is damaged is the error of the rows with entries in it.
local put_in, taken_out = {}, {}
local number -- of the row
local function put(index, member, score)
  local list = put_in[index]
  if not list then
    put_in[index] = { score, member, rows = { [number] = true } }
    return
  end
  local n = #list
  list[n + 1], list[n + 2] = score, member
  list.rows[number] = true
end
local function take(index, member)
  local list = taken_out[index]
  if list then
    list[#list + 1] = member
    list.rows[number] = true
  else
    taken_out[index] = { member, rows = { [number] = true } }
  end
end

local woken = { t = false, m = false }
