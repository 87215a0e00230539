-- Give the messages of consumers that have died back to the queue, in front and in order.
--
-- KEYS[1] heartbeats        sorted set: consumer -> when it was last heard of, in milliseconds
-- KEYS[2] <queue>           list: ids of waiting messages, oldest first
-- KEYS[3] <queue>.pending   sorted set: id -> when it was received
-- KEYS[4] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[5] <queue>.bell      list: a few strikes that wake idle consumers
-- ARGV[1] milliseconds of silence after which a consumer counts as dead
-- ARGV[2] what stands before a consumer's id in the name of its set of taken messages
-- ARGV[3] what stands after it
-- ARGV[4] '1' to forget the dead consumers: with the last of the queues
--
-- Returns the ids given back.
local now = redis.call('TIME')
local before = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[1])
local chosen, rescued = {}, {}
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before)) do
  local acks = ARGV[2] .. consumer .. ARGV[3]
  for _, id in ipairs(redis.call('SMEMBERS', acks)) do
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', KEYS[3], id) or 0)}
  end
  redis.call('DEL', acks)
  if ARGV[4] == '1' then
    redis.call('ZREM', KEYS[1], consumer)
  end
end
table.sort(chosen, function(one, other)
  return one[2] > other[2] or one[2] == other[2] and one[1] > other[1]
end)
for _, each in ipairs(chosen) do
  redis.call('LPUSH', KEYS[2], each[1])
  redis.call('HINCRBY', KEYS[4], each[1], 1)
  rescued[#rescued + 1] = each[1]
end
if #rescued > 0 then
  redis.call('RPUSH', KEYS[5], '1')
end
return rescued
