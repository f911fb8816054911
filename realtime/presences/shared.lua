-- What the scripts of presences share; bus/append.lua comes before it. Names are those of bus/keys.py.
--
-- KEYS[1]  the project's log
-- KEYS[2]  its presences
-- KEYS[3]  their index by user
-- KEYS[4]  their order
-- KEYS[5]  the ends of the presences in the project's bucket
-- KEYS[6]  the leases of the hubs that hold presences there
-- ARGV[1]  the command that publishes
-- ARGV[2]  the live channel
-- ARGV[3]  how many events the log keeps, about; 0 for no bound
-- ARGV[4]  how long it keeps them, in milliseconds; 0 for no bound
-- ARGV[5]  the project
-- ARGV[6]  what the names of the sets of holders begin with; a user follows
-- ARGV[7]  what the names of the sets of what hubs hold begin with; a hub follows
--
-- A holder is <hub>:<connection>.

local log, records, users, order, ends, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local project = ARGV[5]

local function holders_of(user)
  return ARGV[6] .. user
end

-- The set of what a holder's hub holds, and its entry there.
local function held_by(user, holder)
  local hub, connection = string.match(holder, '^([^:]*):(.*)$')
  return ARGV[7] .. hub, project .. ':' .. user .. ':' .. connection
end

local function let_go(user, holder)
  redis.call('SREM', holders_of(user), holder)
  redis.call('SREM', held_by(user, holder))
end

local function let_all_go(user)
  for _, holder in ipairs(redis.call('SMEMBERS', holders_of(user))) do
    let_go(user, holder)
  end
end

-- The version of a presence, as a text; '0' when there is none.
local function version_of(id)
  local record = redis.call('HGET', records, id)
  return record and string.match(record, '^%d+') or '0'
end

-- The ID of the user's presence; nil when there is none, whatever the index says: Redis may have evicted one of the two.
local function presence_of(user)
  local id = redis.call('HGET', users, user)
  return id and version_of(id) ~= '0' and id or nil
end

local function publish(envelope)
  local event_id = append(log, ARGV[1], ARGV[2], tonumber(ARGV[3]), envelope)
  trim(log, event_id, tonumber(ARGV[4]))
end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

