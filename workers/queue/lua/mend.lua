-- Find messages that nobody has and that do not wait, and entries that stand for no message.
--
-- KEYS[1] heartbeats        sorted set: consumer -> when it was last heard of
-- KEYS[2] <queue>           list: ids of waiting messages, oldest first
-- KEYS[3] <queue>.msgs      hash: id -> message
-- KEYS[4] <queue>.pending   sorted set: id -> when it was received
-- KEYS[5] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[6] <queue>.bell      list: a few strikes that wake idle consumers
-- ARGV[1] what stands before a consumer's id in the name of its set of taken messages
-- ARGV[2] what stands after it
-- ARGV[3] 'count' to look whether the numbers agree, 'mend' to look at every id and put it right
-- ARGV[4] ids beyond which looking at every one would keep others waiting too long
--
-- Returns how many messages were put back in front, how many entries were dropped, and '1' if
-- the numbers did not agree. They always agree between two scripts, unless something was lost.
local consumers = redis.call('ZRANGE', KEYS[1], 0, -1)
local messages = redis.call('HLEN', KEYS[3])
local waiting = redis.call('LLEN', KEYS[2])
local taken = 0
for _, consumer in ipairs(consumers) do
  taken = taken + redis.call('SCARD', ARGV[1] .. consumer .. ARGV[2])
end
-- Fewer pending than messages is in order: some hold no deadline back.
local agree = messages == waiting + taken and messages >= redis.call('ZCARD', KEYS[4])
local odd = agree and '0' or '1'
if ARGV[3] == 'count' or math.max(messages, waiting) > tonumber(ARGV[4]) then
  return {0, 0, odd}
end

local known, dropped, chosen = {}, 0, {}
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  known[id] = true
end
for _, consumer in ipairs(consumers) do
  local acks = ARGV[1] .. consumer .. ARGV[2]
  for _, id in ipairs(redis.call('SMEMBERS', acks)) do
    known[id] = true
    if redis.call('HEXISTS', KEYS[3], id) == 0 then
      redis.call('SREM', acks, id)
      dropped = dropped + 1
    end
  end
end
for _, id in ipairs(redis.call('HKEYS', KEYS[3])) do
  if not known[id] then
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', KEYS[4], id) or 0)}
  end
end
table.sort(chosen, function(one, other)
  return one[2] > other[2] or one[2] == other[2] and one[1] > other[1]
end)
for _, each in ipairs(chosen) do
  redis.call('LPUSH', KEYS[2], each[1])
  redis.call('HSETNX', KEYS[5], each[1], '0')
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if redis.call('HEXISTS', KEYS[3], id) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[4], id)
  end
end
for _, id in ipairs(redis.call('HKEYS', KEYS[5])) do
  if redis.call('HEXISTS', KEYS[3], id) == 0 then
    dropped = dropped + redis.call('HDEL', KEYS[5], id)
  end
end
if #chosen > 0 then
  redis.call('RPUSH', KEYS[6], '1')
end
return {#chosen, dropped, odd}
