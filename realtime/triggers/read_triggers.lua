-- Read all triggers of a project, and the version they have, in one step: nothing can come in between.
--
-- KEYS: 1 the project's triggers: name -> record, 2 the bucket's version
-- Returns the version, nil for none, and the names and records in turn.

return {redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[1])}
