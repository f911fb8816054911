-- What the scripts of presences share; bus/append.lua comes before it, and says what KEYS[1] to KEYS[5] and ARGV[1] to
-- ARGV[5] are. Names are those of bus/keys.py.
--
-- KEYS[6]  the project's presences
-- KEYS[7]  their index by user
-- KEYS[8]  their order
-- KEYS[9]  the ends of the presences in the project's bucket
-- KEYS[10] the leases of the hubs that hold presences there
-- ARGV[6]  the project
-- ARGV[7]  what the names of the sets of holders begin with; a user follows
-- ARGV[8]  what the names of the sets of what hubs hold begin with; a hub follows
--
-- A holder is <hub>:<connection>.
local records, users, order, ends, leases = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local project = ARGV[6]

local function holders_of(user)
  return ARGV[7] .. user
end

-- The set of what a holder's hub holds, and its entry there.
local function held_by(user, holder)
  local hub, connection = string.match(holder, '^([^:]*):(.*)$')
  return ARGV[8] .. hub, project .. ':' .. user .. ':' .. connection
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

local function publish(envelope, streams)
  trim(append(envelope, streams))
end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

