-- Remove presences, or have holders let go of them, each with the event that tells of it (shared.lua comes before).
--
-- ARGV[9]  a hub; nothing is done while its lease runs. Empty for no such condition
-- ARGV     then six for each presence: its ID, its user, the version that the event was made of, a holder, the event's
--          envelope, and '1' if webhooks and functions may wait for it. The ID is empty when the user has no presence. The holder is '*' to remove the presence whoever
--          holds it; otherwise it is removed when that holder is the last.
--
-- Returns a text for each: 'removed'; 'held', by others; 'absent', when there is no such presence, or the holder does not
-- hold it; 'stale', when the presence is another one by now and nothing was done; 'alive', when the hub is.
-- Fails with WORKFULL, before anything is written, when too many events wait.

local answers = {}
local lease = ARGV[9] ~= '' and redis.call('ZSCORE', leases, ARGV[9])
local is_alive = lease and tonumber(lease) > now_ms()

-- Of all that may be removed, so that there is room for each, whatever is removed in the end.
local waited_for, position_of = {}, {}
for i = 10, #ARGV, 6 do
  if ARGV[i + 5] == '1' then
    waited_for[#waited_for + 1] = ARGV[i + 4]
    position_of[i] = #waited_for
  end
end
local streams, refusal = match(waited_for)
if refusal then
  return refusal
end

local function remove(id, user, envelope, its_streams)
  redis.call('HDEL', records, id)
  redis.call('HDEL', users, user)
  redis.call('ZREM', order, id)
  redis.call('ZREM', ends, project .. ':' .. id)
  let_all_go(user)
  publish(envelope, its_streams)
  return 'removed'
end

local function handle(id, user, version, holder, envelope, its_streams)
  if is_alive then
    return 'alive'
  end
  local present = presence_of(user)
  if holder == '*' then
    if version_of(id) == '0' then
      return 'absent'
    end
    return version_of(id) == version and remove(id, user, envelope, its_streams) or 'stale'
  end
  if not present or redis.call('SISMEMBER', holders_of(user), holder) == 0 then
    let_go(user, holder)
    return 'absent'
  end
  if redis.call('SCARD', holders_of(user)) > 1 then
    let_go(user, holder)
    return 'held'
  end
  if present ~= id or version_of(id) ~= version then
    return 'stale'
  end
  return remove(id, user, envelope, its_streams)
end

for i = 10, #ARGV, 6 do
  local its_streams = position_of[i] and streams[position_of[i]]
  answers[#answers + 1] = handle(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], its_streams)
end
return answers
