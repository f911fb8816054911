-- Publish a batch of events of one project: append them to its log and send them on its live channel (append.lua), in
-- one step. So nobody sees a part of a batch.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the record of what was published (string); absent when repeating must publish again
-- ARGV[1]  the command that publishes
-- ARGV[2]  the live channel
-- ARGV[3]  how many events the log keeps, about; 0 for no bound
-- ARGV[4]  how long it keeps them, in milliseconds; 0 for no bound
-- ARGV[5]  how long the record lives, in milliseconds
-- ARGV[6]  what marks each event in its outbox, joined by commas; empty for a batch with an idempotency key
-- ARGV[7]  and following: the envelopes, JSON objects
--
-- Of a batch with an idempotency key the record holds the IDs: while it lives, a batch under that key is not published
-- again. Of a batch from an outbox it holds the marks, of the last batch only, since batches of an outbox come one
-- after another: events of the last batch that come again, with others or without, are left out. While some of them do
-- come again, the rest is remembered too, for it was not forgotten either.
--
-- Returns the events' IDs, joined by commas; those of the first time when the idempotency record exists.

local log, record = KEYS[1], KEYS[2]
local max_events, max_age = tonumber(ARGV[3]), tonumber(ARGV[4])
local numbers = ARGV[6]

local published = record and redis.call('GET', record)
if published and numbers == '' then
  return published
end

local seen, number_of = {}, {}
if numbers ~= '' then
  for number in string.gmatch(published or '', '[^,]+') do
    seen[number] = true
  end
  for number in string.gmatch(numbers, '[^,]+') do
    number_of[#number_of + 1] = number
  end
end

-- The numbers of this batch. If some came before, so may others of that batch, which are not in this one: they stay.
local function remembered()
  local kept, is_new, repeats = {}, {}, false
  for i, number in ipairs(number_of) do
    kept[i] = number
    is_new[number] = true
    repeats = repeats or seen[number]
  end
  if repeats then
    for number in pairs(seen) do
      if not is_new[number] then kept[#kept + 1] = number end
    end
  end
  return kept
end

local ids = {}
for i = 7, #ARGV do
  if not seen[number_of[i - 6]] then
    ids[#ids + 1] = append(log, ARGV[1], ARGV[2], max_events, ARGV[i])
  end
end

if #ids > 0 then
  trim(log, ids[#ids], max_age)
end

local answer = table.concat(ids, ',')
if record and numbers == '' then
  redis.call('SET', record, answer, 'PX', ARGV[5])
elseif record then
  redis.call('SET', record, table.concat(remembered(), ','), 'PX', ARGV[5])
end
return answer
