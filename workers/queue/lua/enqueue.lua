-- Enqueue messages, stamping each with the one clock that decides: this server's.
--
-- ARGV[1] how many messages may wait at most
-- ARGV[2..] per message: id, how many commands it carries, its text
--
-- Returns the stamp of each message's first command, the others follow it without gaps; nothing
-- when the queue is full. A repeated call changes nothing while the first one's messages are still
-- there, and is told their stamps.
if redis.call('LLEN', queue) + (#ARGV - 1) / 3 > tonumber(ARGV[1]) then
  return {}
end
local total = 0
for i = 3, #ARGV, 3 do
  total = total + tonumber(ARGV[i])
end
local stamps, stamp = {}, take_stamps(total)
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  if redis.call('HSETNX', messages, id, ARGV[i + 2]) == 1 then
    stamps[#stamps + 1] = whole(stamp)
    redis.call('ZADD', pending, stamps[#stamps], id)
    redis.call('RPUSH', queue, id)
  else
    stamps[#stamps + 1] = whole(stamp_of(redis.call('ZSCORE', pending, id)) or stamp)
  end
  stamp = stamp + tonumber(ARGV[i + 1])
end
ring(bell)
return stamps
