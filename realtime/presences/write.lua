-- Write a presence, say who holds it, and publish the event that tells of it, in one step (shared.lua comes before).
--
-- ARGV[9]   the presence's ID
-- ARGV[10]  its user
-- ARGV[11]  the user it had before; the same one as a rule
-- ARGV[12]  the version that this change was made of; 0 for a presence that is new
-- ARGV[13]  the record
-- ARGV[14]  when it expires, in Unix milliseconds
-- ARGV[15]  its sequence number
-- ARGV[16]  the event's envelope
-- ARGV[17]  a holder, who holds it too from now on; 'keep' for those it has, 'none' to have all let go
-- ARGV[18]  for how long a hub's lease runs, in milliseconds
-- ARGV[19]  '1' if webhooks and functions may wait for the event
--
-- Returns 'stale' when the version is another one, or it is new to a user who has another presence, and nothing was
-- written; 'leased' when the holder's hub had no lease, and was given one; otherwise 'written'. Fails with WORKFULL, before
-- anything is written, when too many events wait.

local id, user, former, holder = ARGV[9], ARGV[10], ARGV[11], ARGV[17]

local is_theirs_already = ARGV[12] ~= '0' and former == user
if version_of(id) ~= ARGV[12] or (not is_theirs_already and (presence_of(user) or id) ~= id) then
  return 'stale'
end

local streams, refusal = match(ARGV[19] == '1' and {ARGV[16]} or {})
if refusal then
  return refusal
end

if former ~= user then
  redis.call('HDEL', users, former)
  let_all_go(former)
end
redis.call('HSET', records, id, ARGV[13])
redis.call('HSET', users, user, id)
redis.call('ZADD', order, ARGV[15], id)
redis.call('ZADD', ends, ARGV[14], project .. ':' .. id)

local answer = 'written'
if holder == 'none' then
  let_all_go(user)
elseif holder ~= 'keep' then
  redis.call('SADD', holders_of(user), holder)
  redis.call('SADD', held_by(user, holder))
  -- Renewing is the hub's own affair: it has to notice that its lease had lapsed.
  local hub = string.match(holder, '^[^:]*')
  if redis.call('ZADD', leases, 'NX', now_ms() + ARGV[18], hub) == 1 then
    answer = 'leased'
  end
end
publish(ARGV[16], streams[1])
return answer
