-- What the scripts that publish share: appending an event to its project's log and sending it on its live channel, in
-- one step, so that the order of the log is the order of the channel. Read before them (bus/scripts.py).

-- Publish one envelope, a JSON object, and return the event's ID. The log keeps about `max_events`; 0 for no bound.
local function append(log, command, channel, max_events, envelope)
  local id
  if max_events > 0 then
    id = redis.call('XADD', log, 'MAXLEN', '~', max_events, '*', 'e', envelope)
  else
    id = redis.call('XADD', log, '*', 'e', envelope)
  end
  redis.call(command, channel, '{"id":"' .. id .. '",' .. string.sub(envelope, 2))
  return id
end

-- Drop what is older than `max_age` milliseconds before the event `last`, which was just appended; 0 for no bound.
local function trim(log, last, max_age)
  if max_age > 0 then
    local now = tonumber(string.match(last, '^%d+'))
    redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', math.max(now - max_age, 0)))
    -- A log that nothing is added to is never trimmed; it goes as a whole once all of it is too old.
    redis.call('PEXPIRE', log, max_age)
  end
end

