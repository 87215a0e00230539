-- Forget messages that are settled, everything one commit has settled in one call, and say what
-- is left of those of which only a part is.
--
-- ARGV[1] the worker's id
-- ARGV[2] how many messages are settled
-- ARGV[3..] their ids, then per message of which a part is left: id, what that is about
--
-- What another worker has taken over meanwhile is forgotten all the same: it is settled.
local settled, count = {}, tonumber(ARGV[2])
for i = 3, 2 + count do
  settled[#settled + 1] = ARGV[i]
  redis.call('SREM', taken_by(ARGV[1]), ARGV[i])
end
forget(settled)
local shrunk = {}
for i = 3 + count, #ARGV, 2 do
  if redis.call('ZSCORE', pending, ARGV[i]) then
    redis.call('HSET', subjects, ARGV[i], ARGV[i + 1])
    shrunk[#shrunk + 1] = ARGV[i]
  end
end
wake_waiters(shrunk)
return count
