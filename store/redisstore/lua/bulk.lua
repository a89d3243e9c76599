-- bulk.lua is put before, and each.lua behind, the scripts that do the same for several rows of a shard: they define item(key), which returns a code and what else there is.
-- KEYS     the rows
-- ARGV     now (ms or ''), then for each row how many arguments it has, and those
-- Returns  ok, now, then for each row what its item returns; error and a message if it raised an error
local now = clock(arg())
local P = prefix(KEYS[1])

-- Entries of the shard's indexes are written when all rows are, with one command an index: no item reads an index through which it writes.
local later = {}
local function put(index, member, score)
  local entries = later[index]
  if not entries then
    entries = {}
    later[index] = entries
  end
  entries[member] = score and score ~= '' and score or false -- false: it goes
end

local woken = { t = false, m = false }
