-- What the scripts that publish share: appending an event to its project's log, sending it on its live channel, and
-- leaving it for the webhooks and functions that wait for it; in one step, so that the order of the log is the order of
-- the channel, and no crash comes in between. Read before them (bus/scripts.py); they all begin with these keys and
-- arguments.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the names of events that webhooks wait for (hash); absent if they wait for none
-- KEYS[3]  the events that are left for webhooks (stream)
-- KEYS[4]  the names that functions wait for
-- KEYS[5]  the events that are left for functions
-- ARGV[1]  the command that publishes
-- ARGV[2]  the live channel
-- ARGV[3]  how many events the log keeps, about; 0 for no bound
-- ARGV[4]  how long it keeps them, in milliseconds; 0 for no bound
-- ARGV[5]  how many events may be left for webhooks, and how many for functions
--
-- A record is an envelope, a JSON object; or an envelope, a zero byte, and the payload with what is left out there.

local work = {
  { kind = 'webhooks', names = KEYS[2], stream = KEYS[3] },
  { kind = 'functions', names = KEYS[4], stream = KEYS[5] },
}

-- Up to so many names are looked for in an event one by one; if there are more, the event's are looked up.
local FEW = 50

-- The names of an event, as they stand in its record. Nothing that strangers choose comes before them, and no name has a
-- quote or a bracket.
local function names_of(record)
  local _, start = string.find(record, '"data":{"events":[', 1, true)
  local stop = start and string.find(record, ']', start, true)
  return stop and string.sub(record, start, stop) or ''
end

-- Return what tells whether one of the names of an event is in a hash.
local function finder(hash)
  if redis.call('HLEN', hash) <= FEW then
    local wanted = redis.call('HKEYS', hash)
    for i, name in ipairs(wanted) do
      wanted[i] = '"' .. name .. '"'
    end
    return function(names)
      for _, name in ipairs(wanted) do
        if string.find(names, name, 1, true) then return true end
      end
      return false
    end
  end
  return function(names)
    local each = {}
    for name in string.gmatch(names, '"([^"]+)"') do
      each[#each + 1] = name
    end
    for _, count in ipairs(#each > 0 and redis.call('HMGET', hash, unpack(each)) or {}) do
      if count then return true end
    end
    return false
  end
end

-- Find out for what the events of `records` are to be left, before anything is written. Returns for each record its
-- streams, nil for none; or nothing and an error if there would be too many: then nothing may be written at all. More
-- than may be left are, if nothing is left yet: a batch that is larger than the bound must not wait forever.
local function match(records)
  local streams, names = {}, {}
  if #records == 0 or redis.call('EXISTS', KEYS[2], KEYS[4]) == 0 then
    return streams
  end
  for _, one in ipairs(work) do
    local is_waited_for, count = finder(one.names), 0
    for i, record in ipairs(records) do
      names[i] = names[i] or names_of(record)
      if is_waited_for(names[i]) then
        streams[i] = streams[i] or {}
        table.insert(streams[i], one.stream)
        count = count + 1
      end
    end
    local left = count > 0 and redis.call('XLEN', one.stream) or 0
    if left > 0 and left + count > tonumber(ARGV[5]) then
      return nil, redis.error_reply('WORKFULL ' .. one.kind)
    end
  end
  return streams
end

-- Publish one record, leave it in `streams`, and return the event's ID.
local function append(record, streams)
  local envelope, full = record, nil
  local zero = string.find(record, '\0', 1, true)
  if zero then
    envelope, full = string.sub(record, 1, zero - 1), string.sub(record, zero + 1)
  end
  local id
  if tonumber(ARGV[3]) > 0 then
    id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', envelope)
  else
    id = redis.call('XADD', KEYS[1], '*', 'e', envelope)
  end
  redis.call(ARGV[1], ARGV[2], '{"id":"' .. id .. '",' .. string.sub(envelope, 2))
  for _, stream in ipairs(streams or {}) do
    if full then
      redis.call('XADD', stream, '*', 'e', envelope, 'i', id, 'f', full)
    else
      redis.call('XADD', stream, '*', 'e', envelope, 'i', id)
    end
  end
  return id
end

-- Drop what is too old for the log, by the event `last`, which was just appended.
local function trim(last)
  local max_age = tonumber(ARGV[4])
  if max_age > 0 then
    local now = tonumber(string.match(last, '^%d+'))
    redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(now - max_age, 0)))
    -- A log that nothing is added to is never trimmed; it goes as a whole once all of it is too old.
    redis.call('PEXPIRE', KEYS[1], max_age)
  end
end

