-- Renew the lease of a hub in one bucket.
--
-- KEYS[1]  the leases there
-- KEYS[2]  what the hub holds there
-- ARGV[1]  the hub
-- ARGV[2]  for how long the lease runs, in milliseconds
--
-- Returns whether the lease still ran (1) or not (0), and how much the hub holds.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return { lease and tonumber(lease) > now and 1 or 0, redis.call('SCARD', KEYS[2]) }
