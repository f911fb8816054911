-- Write or delete a trigger, and tell that something in its bucket is different; bus/version.lua comes before it.
--
-- KEYS: 1 the project's triggers: name -> record, 2 the bucket's version
-- ARGV: 1 the trigger's name, 2 its record as JSON, empty to delete it
-- Returns whether there was one of this name: 1 or 0.

local old = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if (old or '') ~= ARGV[2] then
    renew_version(KEYS[2])
end
return old and 1 or 0
