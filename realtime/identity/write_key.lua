-- Write or delete an API key, and announce it if connections may already use what it was.
--
-- KEYS: 1 the project's keys: hash of the secret -> record
-- ARGV: 1 the publish command, 2 the live channel, 3 the announcement, 4 the key's ID,
--       5 the record as JSON, empty to delete it, 6 the hash of its secret
-- Returns whether a record with this ID was there before: 1 or 0.

local existed = 0
local changed = false
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
    -- A record that cannot be read is no key that anybody could name; it must not keep others from being written.
    local ok, fields = pcall(cjson.decode, entries[i + 1])
    if ok and type(fields) == 'table' and fields.id == ARGV[4] then
        existed = 1
        changed = changed or entries[i] ~= ARGV[6] or entries[i + 1] ~= ARGV[5]
        redis.call('HDEL', KEYS[1], entries[i])
    end
end
if ARGV[5] ~= '' then
    redis.call('HSET', KEYS[1], ARGV[6], ARGV[5])
end
if changed then
    redis.call(ARGV[1], ARGV[2], ARGV[3])
end
return existed
