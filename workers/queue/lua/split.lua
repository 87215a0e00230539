-- Replace a message that a consumer has taken by several, each with a part of it, in front.
--
-- KEYS[1] <queue>           list: ids of waiting messages, oldest first
-- KEYS[2] <queue>.msgs      hash: id -> message
-- KEYS[3] <queue>.pending   sorted set: id -> when it was received
-- KEYS[4] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[5] acks              set: ids that this consumer has taken and not yet settled
-- ARGV[1] the message's id
-- ARGV[2..] per part: id, text
--
-- Receipt and attempts are inherited. Returns how many parts there are, 0 if all was done before.
local id = ARGV[1]
if redis.call('SREM', KEYS[5], id) == 0 or redis.call('HDEL', KEYS[2], id) == 0 then
  return 0
end
local score = redis.call('ZSCORE', KEYS[3], id)
local attempts = redis.call('HGET', KEYS[4], id) or '0'
redis.call('ZREM', KEYS[3], id)
redis.call('HDEL', KEYS[4], id)
for i = #ARGV - 1, 2, -2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  if score then
    redis.call('ZADD', KEYS[3], score, ARGV[i])
  end
  redis.call('HSET', KEYS[4], ARGV[i], attempts)
  redis.call('LPUSH', KEYS[1], ARGV[i])
end
return (#ARGV - 1) / 2
