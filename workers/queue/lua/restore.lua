-- Say again what a consumer has taken, after the server may have forgotten it.
--
-- KEYS[1] <queue>.msgs      hash: id -> message
-- KEYS[2] <queue>.pending   sorted set: id -> when it was received, in microseconds
-- KEYS[3] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[4] acks              set: ids that this consumer has taken and not yet settled
-- ARGV    per message: id, text, instant of receipt in microseconds or 0, attempts
for i = 1, #ARGV, 4 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
  if ARGV[i + 2] ~= '0' then
    redis.call('ZADD', KEYS[2], 'NX', ARGV[i + 2], ARGV[i])
  end
  redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 3])
  redis.call('SADD', KEYS[4], ARGV[i])
end
return #ARGV / 4
