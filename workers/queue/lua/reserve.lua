-- Reserve stamps for messages that are not written yet, and say what their commands are about.
--
-- ARGV per message: id, how many commands it will carry, what they are about
--
-- Returns the stamp of each message's first command. Until a message is handed in, or given up,
-- what is about the same and was received later waits for it.
local stamps = {}
for i = 1, #ARGV, 3 do
  local stamp = whole(take_stamps(tonumber(ARGV[i + 1])))
  redis.call('ZADD', pending, stamp, ARGV[i])
  redis.call('HSET', subjects, ARGV[i], ARGV[i + 2])
  stamps[#stamps + 1] = stamp
end
return stamps
