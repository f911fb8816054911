-- Write a presence, say who holds it, and publish the event that tells of it, in one step (shared.lua comes before).
--
-- ARGV[8]   the presence's ID
-- ARGV[9]   its user
-- ARGV[10]  the user it had before; the same one as a rule
-- ARGV[11]  the version that this change was made of; 0 for a presence that is new
-- ARGV[12]  the record
-- ARGV[13]  when it expires, in Unix milliseconds
-- ARGV[14]  its sequence number
-- ARGV[15]  the event's envelope
-- ARGV[16]  a holder, who holds it too from now on; 'keep' for those it has, 'none' to have all let go
-- ARGV[17]  for how long a hub's lease runs, in milliseconds
--
-- Returns 'stale' when the version is another one, or it is new to a user who has another presence, and nothing was
-- written; 'leased' when the holder's hub had no lease, and was given one; otherwise 'written'.

local id, user, former, holder = ARGV[8], ARGV[9], ARGV[10], ARGV[16]

local is_theirs_already = ARGV[11] ~= '0' and former == user
if version_of(id) ~= ARGV[11] or (not is_theirs_already and (presence_of(user) or id) ~= id) then
  return 'stale'
end

if former ~= user then
  redis.call('HDEL', users, former)
  let_all_go(former)
end
redis.call('HSET', records, id, ARGV[12])
redis.call('HSET', users, user, id)
redis.call('ZADD', order, ARGV[14], id)
redis.call('ZADD', ends, ARGV[13], project .. ':' .. id)

local answer = 'written'
if holder == 'none' then
  let_all_go(user)
elseif holder ~= 'keep' then
  redis.call('SADD', holders_of(user), holder)
  redis.call('SADD', held_by(user, holder))
  -- Renewing is the hub's own affair: it has to notice that its lease had lapsed.
  local hub = string.match(holder, '^[^:]*')
  if redis.call('ZADD', leases, 'NX', now_ms() + ARGV[17], hub) == 1 then
    answer = 'leased'
  end
end
publish(ARGV[15])
return answer
