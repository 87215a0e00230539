-- Put messages that a consumer has taken back into the queue, untouched and in order.
--
-- KEYS[1] <queue>           list: ids of waiting messages, oldest first
-- KEYS[2] <queue>.pending   sorted set: id -> when it was received
-- KEYS[3] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[4] <queue>.bell      list: a few strikes that wake idle consumers
-- KEYS[5] acks              set: ids that this consumer has taken and not yet settled
-- ARGV[1] 'front' or 'back'
-- ARGV[2] 'but' to put back all that it has taken but these, 'only' to put back only these
-- ARGV[3..] ids
--
-- Returns how many were put back.
local named, chosen = {}, {}
for i = 3, #ARGV do
  named[ARGV[i]] = true
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[5])) do
  if (named[id] or false) == (ARGV[2] == 'only') then
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', KEYS[2], id) or 0)}
  end
end
local front = ARGV[1] == 'front'
table.sort(chosen, function(one, other)
  if front then one, other = other, one end
  return one[2] < other[2] or one[2] == other[2] and one[1] < other[1]
end)
for _, each in ipairs(chosen) do
  redis.call('SREM', KEYS[5], each[1])
  redis.call(front and 'LPUSH' or 'RPUSH', KEYS[1], each[1])
  redis.call('HSETNX', KEYS[3], each[1], '0')
end
if #chosen > 0 and redis.call('LLEN', KEYS[4]) < 16 then
  redis.call('RPUSH', KEYS[4], '1')
end
return #chosen
