-- Forget a hub whose lease has lapsed, once nothing of it is left in this bucket.
--
-- KEYS[1]  the leases there
-- KEYS[2]  what the hub holds there
-- ARGV[1]  the hub

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) <= now and redis.call('SCARD', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
