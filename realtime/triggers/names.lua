-- Keep the names of the events that a project's triggers wait for, with how many enabled triggers wait for each: of
-- webhooks in one hash, of functions in another. Read before the scripts that use it; their keys begin like this:
--
-- KEYS: 1 the project's triggers: name -> record, 2 the bucket's version,
--       3 the names that webhooks wait for: name -> number, 4 those of functions

local hashes = {webhook = KEYS[3], ['function'] = KEYS[4]}

-- The names that a trigger waits for; none if it is disabled, or not one that can be read.
local function names_in(record)
    local is_read, trigger = pcall(cjson.decode, record)
    if is_read and type(trigger) == 'table' and type(trigger.events) == 'table' and trigger.enabled ~= false then
        return trigger.events
    end
    return {}
end

-- Count the names of a record `step` times more: 1 when it comes, -1 when it goes.
local function count(trigger_name, record, step)
    local hash = hashes[string.match(trigger_name, '^%l+')]
    if not hash then
        return
    end
    for _, name in ipairs(names_in(record)) do
        if redis.call('HINCRBY', hash, tostring(name), step) <= 0 then
            redis.call('HDEL', hash, tostring(name))
        end
    end
end

-- Count everything anew.
local function count_all()
    redis.call('DEL', KEYS[3], KEYS[4])
    local entries = redis.call('HGETALL', KEYS[1])
    for i = 1, #entries, 2 do
        count(entries[i], entries[i + 1], 1)
    end
end

