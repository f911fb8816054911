-- Read the record of a project and of the API key that a request bears, in one step and one round trip.
--
-- KEYS: 1 the project's record, 2 the project's API keys
-- ARGV: 1 the hash of the key's secret
-- Returns both records as JSON, each nil if there is none.

return {redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], ARGV[1])}
