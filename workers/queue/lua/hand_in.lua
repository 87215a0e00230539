-- Hand in messages that were stamped elsewhere: rows of the inbox, kept in the database.
--
-- KEYS[1] <queue>          list: ids of waiting messages, oldest first
-- KEYS[2] <queue>.msgs     hash: id -> message
-- KEYS[3] <queue>.pending  sorted set: id -> when it was received, in microseconds
-- KEYS[4] <queue>.attempts hash: id -> how many takers died; 0 for one whose receipt is beyond doubt
-- KEYS[5] <queue>.bell     list: a few strikes that wake idle consumers
-- ARGV[1] '1' to put them in front: they have waited long enough
-- ARGV[2..] per message: id, when it was received, its text
--
-- Returns how many are new here. A message that is still waiting, or taken, is not doubled.
local handed = 0
for i = 2, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 2]) == 1 then
    redis.call(ARGV[1] == '1' and 'LPUSH' or 'RPUSH', KEYS[1], ARGV[i])
    redis.call('ZADD', KEYS[3], ARGV[i + 1], ARGV[i])
    -- It was received before it came here, so others may have overtaken it on the way.
    redis.call('HSETNX', KEYS[4], ARGV[i], '0')
    handed = handed + 1
  end
end
if handed > 0 and redis.call('LLEN', KEYS[5]) < 16 then
  redis.call('RPUSH', KEYS[5], '1')
end
return handed
