-- Read and write the records by which subscriptions of one project return after their connection was lost.
--
-- A record is "<holder> <mode> <position>": which connection of which hub holds the subscription (<hub>:<connection>),
-- and from where it goes on for its next connection. In mode "at" that is <position>; in mode "from" it is the floor of
-- the holder's hub (how far everybody there has confirmed), and at least <position>.
--
-- KEYS[i]  a record, or a hub's floor
-- ARGV[1]  how long records live, in milliseconds
-- ARGV[2]  what the name of a hub's floor begins with
-- ARGV     then three for each key: an operation, a holder, a position
--
-- claim    Take the subscription over. Returns from where it goes on; an empty text if it is a new one.
-- at, from Write the record, unless somebody else holds the subscription by now.
-- forget   Delete it, unless somebody else holds the subscription by now.
-- renew    Let it live on.
-- floor    Write the floor of a hub.
--
-- Returns a text for each key. Doing all of it again, when the answer was lost, changes nothing and answers the same.

local lifetime, floor_prefix = ARGV[1], ARGV[2]

-- What is there under a name and can be read; nil if nothing, or what somebody else wrote. It must not keep others from
-- being written.
local function find(key, pattern)
  local text = redis.pcall('GET', key)
  if type(text) == 'string' then
    return string.match(text, pattern)
  end
end

local function numbers(position)
  local milliseconds, sequence = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(milliseconds), tonumber(sequence)
end

local function is_later(one, other)
  local a_ms, a_seq = numbers(one)
  local b_ms, b_seq = numbers(other)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

local function read(key)
  return find(key, '^(%S+) (%l+) (%d+%-%d+)$')
end

local function write(key, holder, mode, position)
  redis.call('SET', key, holder .. ' ' .. mode .. ' ' .. position, 'PX', lifetime)
end

local function goes_on(holder, mode, position)
  if mode == 'from' then
    local floor = find(floor_prefix .. string.match(holder, '^[^:]*'), '^%d+%-%d+$')
    if floor and is_later(floor, position) then
      return floor
    end
  end
  return position
end

local function claim(key, holder, position)
  local held_by, mode, held_at = read(key)
  if held_by == holder then
    -- This is said again: the answer was lost.
    return mode == 'at' and held_at or ''
  end
  if held_by then
    local since = goes_on(held_by, mode, held_at)
    write(key, holder, 'at', since)
    return since
  end
  write(key, holder, 'from', position)
  return ''
end

local answers = {}
for i, key in ipairs(KEYS) do
  local operation, holder, position = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  answers[i] = ''
  if operation == 'claim' then
    answers[i] = claim(key, holder, position)
  elseif operation == 'floor' then
    redis.call('SET', key, position, 'PX', lifetime)
  elseif operation == 'renew' then
    redis.call('PEXPIRE', key, lifetime)
  else
    local held_by = read(key)
    if operation == 'forget' then
      if held_by == holder then
        redis.call('DEL', key)
      end
    elseif held_by == holder or not held_by then
      write(key, holder, operation, position)
    end
  end
end
return answers
