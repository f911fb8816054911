-- Write or delete a trigger, keep the names of the events that are waited for, and tell that something in the bucket is
-- different; bus/version.lua and names.lua come before it, and the latter says what the keys are.
--
-- ARGV: 1 the trigger's name, 2 its record as JSON, empty to delete it
-- Returns whether there was one of this name: 1 or 0.

-- Triggers that a release wrote which did not count are counted with the first that changes, or is written again.
local is_counted = redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 or redis.call('EXISTS', KEYS[1]) == 0

local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if not is_counted then
    count_all()
elseif old ~= ARGV[2] then
    count(ARGV[1], old, -1)
    count(ARGV[1], ARGV[2], 1)
end
if old ~= ARGV[2] then
    renew_version(KEYS[2])
end
return old ~= '' and 1 or 0
