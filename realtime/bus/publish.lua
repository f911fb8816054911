-- Publish a batch of events of one project: append them to its log and send them on its live channel, in one
-- step. So the order of the log is the order of the channel, and nobody sees a part of a batch.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the idempotency record (string); absent when repeating must publish again
-- ARGV[1]  the command that publishes
-- ARGV[2]  the live channel
-- ARGV[3]  how many events the log keeps, about; 0 for no bound
-- ARGV[4]  how long it keeps them, in milliseconds; 0 for no bound
-- ARGV[5]  how long the idempotency record lives, in milliseconds
-- ARGV[6]  and following: the envelopes, JSON objects
--
-- Returns the events' IDs, joined by commas; those of the first time when the idempotency record exists.

local log, record = KEYS[1], KEYS[2]
local max_events, max_age = tonumber(ARGV[3]), tonumber(ARGV[4])

if record then
  local published = redis.call('GET', record)
  if published then
    return published
  end
end

local ids = {}
for i = 6, #ARGV do
  local envelope = ARGV[i]
  local id
  if max_events > 0 then
    id = redis.call('XADD', log, 'MAXLEN', '~', max_events, '*', 'e', envelope)
  else
    id = redis.call('XADD', log, '*', 'e', envelope)
  end
  redis.call(ARGV[1], ARGV[2], '{"id":"' .. id .. '",' .. string.sub(envelope, 2))
  ids[#ids + 1] = id
end

if max_age > 0 then
  local now = tonumber(string.match(ids[#ids], '^%d+'))
  redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', math.max(now - max_age, 0)))
  -- A log that nothing is added to is never trimmed; it goes as a whole once all of it is too old.
  redis.call('PEXPIRE', log, max_age)
end

local published = table.concat(ids, ',')
if record then
  redis.call('SET', record, published, 'PX', ARGV[5])
end
return published
