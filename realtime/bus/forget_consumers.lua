-- Forget the consumers of a work stream that are long gone, unless something of theirs has still to be claimed: with it
-- that would be lost.
--
-- KEYS[1]  the stream
-- ARGV[1]  its consumer group
-- ARGV[2]  for how long a consumer must not have asked for anything, in milliseconds
--
-- Returns how many were forgotten.

local forgotten = 0
if redis.call('EXISTS', KEYS[1]) == 0 then
  return forgotten
end
local answer = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
for _, facts in ipairs(answer.err and {} or answer) do
  local consumer = {}
  for i = 1, #facts, 2 do
    consumer[facts[i]] = facts[i + 1]
  end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    forgotten = forgotten + 1
  end
end
return forgotten
