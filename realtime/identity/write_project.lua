-- Write or delete a project's record, keep the bucket's list of projects, and announce the change; bus/version.lua
-- comes before it.
--
-- KEYS: 1 the record, 2 the bucket's set of projects; when deleting also 3 the version of the bucket's triggers, and
--       4.. keys to delete with the project
-- ARGV: 1 the publish command, 2 the live channel, 3 the announcement, 4 the project's ID,
--       5 the record as JSON, empty to delete it
-- Returns whether a record was there before: 1 or 0.

local existed = redis.call('EXISTS', KEYS[1])
if ARGV[5] == '' then
    redis.call('DEL', KEYS[1], unpack(KEYS, 4))
    renew_version(KEYS[3])
    redis.call('SREM', KEYS[2], ARGV[4])
else
    redis.call('SET', KEYS[1], ARGV[5])
    redis.call('SADD', KEYS[2], ARGV[4])
end
redis.call(ARGV[1], ARGV[2], ARGV[3])
return existed
