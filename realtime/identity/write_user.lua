-- Write or delete a user's record, keep the indexes by e-mail and phone, and announce the change.
--
-- KEYS: 1 the record, 2 the index by e-mail, 3 the index by phone
-- ARGV: 1 the publish command, 2 the live channel, 3 the announcement, 4 the user's ID,
--       5 the record as JSON, empty to delete it, 6 the e-mail as indexed, 7 the phone; empty for none
-- Returns whether a record was there before: 1 or 0.

-- An entry that meanwhile leads to another user stays: two users may swap addresses.
local function remove(index, entry)
    if entry and redis.call('HGET', index, entry) == ARGV[4] then
        redis.call('HDEL', index, entry)
    end
end

local old = redis.call('GET', KEYS[1])
if old then
    -- A record that cannot be read must not stay for ever; readers check what an index leads them to.
    local ok, fields = pcall(cjson.decode, old)
    if ok and type(fields) == 'table' then
        remove(KEYS[2], type(fields.email) == 'string' and string.lower(fields.email))
        remove(KEYS[3], type(fields.phone) == 'string' and fields.phone)
    end
end
if ARGV[5] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[5])
    if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], ARGV[6], ARGV[4]) end
    if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], ARGV[7], ARGV[4]) end
end
redis.call(ARGV[1], ARGV[2], ARGV[3])
return old and 1 or 0
