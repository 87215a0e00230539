-- Ask to be woken when messages are settled, or when less of them is left.
--
-- ARGV[1] the worker's id
-- ARGV[2..] per message: id, bytes of what it was about when the worker looked
--
-- Returns how many have changed since: whoever waits for those need not wait.
local changed = 0
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  if redis.call('ZSCORE', pending, id) and redis.call('HSTRLEN', subjects, id) == tonumber(ARGV[i + 1]) then
    local names = redis.call('HGET', waiters, id) or ''
    if not string.find(names, ARGV[1], 1, true) then
      redis.call('HSET', waiters, id, names .. ARGV[1] .. ',')
    end
  else
    changed = changed + 1
  end
end
return changed
