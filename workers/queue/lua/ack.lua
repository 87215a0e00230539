-- Forget messages that are settled: everything one commit has settled, in one call.
--
-- KEYS[1] <queue>.msgs      hash: id -> message
-- KEYS[2] <queue>.pending   sorted set: id -> when it was received
-- KEYS[3] <queue>.attempts  hash: id -> how often a dying consumer gave it back
-- KEYS[4] acks              set: ids that this consumer has taken and not yet settled
-- ARGV    ids
--
-- What another consumer has taken over meanwhile is forgotten all the same: it is settled.
for i = 1, #ARGV do
  redis.call('SREM', KEYS[4], ARGV[i])
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HDEL', KEYS[3], unpack(ARGV))
end
return #ARGV
