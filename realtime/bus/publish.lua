-- Publish a batch of events of one project, in one step, so that nobody sees a part of it; append.lua comes before it,
-- and says what KEYS[1] to KEYS[5] and ARGV[1] to ARGV[5] are.
--
-- KEYS[6]  the record of what was published (string); absent when repeating must publish again
-- ARGV[6]  how long the record lives, in milliseconds
-- ARGV[7]  what marks each event in its outbox, joined by commas; empty for a batch with an idempotency key
-- ARGV[8]  and following: the records of the events
--
-- Of a batch with an idempotency key the record holds the IDs: while it lives, a batch under that key is not published
-- again. Of a batch from an outbox it holds the marks, of the last batch only, since batches of an outbox come one
-- after another: events of the last batch that come again, with others or without, are left out. While some of them do
-- come again, the rest is remembered too, for it was not forgotten either.
--
-- Returns the events' IDs, joined by commas; those of the first time when the idempotency record exists. Fails with
-- WORKFULL and webhooks or functions, before anything is written, when too many events wait for those.

local record, numbers = KEYS[6], ARGV[7]

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

local new = {}
for i = 8, #ARGV do
  if not seen[number_of[i - 7]] then
    new[#new + 1] = ARGV[i]
  end
end

local streams, refusal = match(new)
if refusal then
  return refusal
end

local ids = {}
for i, event in ipairs(new) do
  ids[i] = append(event, streams[i])
end

if #ids > 0 then
  trim(ids[#ids])
end

local answer = table.concat(ids, ',')
if record and numbers == '' then
  redis.call('SET', record, answer, 'PX', ARGV[6])
elseif record then
  redis.call('SET', record, table.concat(remembered(), ','), 'PX', ARGV[6])
end
return answer
