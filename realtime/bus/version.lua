-- Replace a version by a number that was never there, also if Redis has lost the last ones: the microsecond of now, or
-- one more than the number before. Read before the scripts that use it.

local function renew_version(key)
    local now = redis.call('TIME')
    local last = tonumber(redis.call('GET', key) or 0)
    redis.call('SET', key, string.format('%.0f', math.max(last + 1, now[1] * 1000000 + now[2])))
end

