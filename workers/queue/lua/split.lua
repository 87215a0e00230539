-- Replace a message that a worker has taken by several, each with a part of it.
--
-- ARGV[1] the worker's id
-- ARGV[2] the message's id
-- ARGV[3..] per part: id, text, stamp
--
-- Attempts are inherited. Returns how many parts there are, 0 if all was done before.
local id, taken = ARGV[2], taken_by(ARGV[1])
if redis.call('SREM', taken, id) == 0 or redis.call('HEXISTS', messages, id) == 0 then
  return 0
end
local died, chosen = redis.call('HGET', attempts, id) or '0', {}
for i = 3, #ARGV, 3 do
  redis.call('HSET', messages, ARGV[i], ARGV[i + 1])
  redis.call('ZADD', pending, ARGV[i + 2], ARGV[i])
  redis.call('HSET', attempts, ARGV[i], died)
  chosen[#chosen + 1] = {ARGV[i], tonumber(ARGV[i + 2])}
end
local parts = #chosen
let_wait(chosen, true)
-- After its parts are there: nobody may find nothing where there is something.
forget({id})
return parts
