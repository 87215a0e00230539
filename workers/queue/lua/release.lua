-- Put messages that a worker has taken back into the queue, untouched and in order.
--
-- ARGV[1] the worker's id
-- ARGV[2] 'but' to put back all that it has taken but these, 'only' to put back only these
-- ARGV[3..] ids
--
-- Returns how many were put back.
local named, chosen = {}, {}
for i = 3, #ARGV do
  named[ARGV[i]] = true
end
local taken = taken_by(ARGV[1])
for _, id in ipairs(redis.call('SMEMBERS', taken)) do
  if (named[id] or false) == (ARGV[2] == 'only') then
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', pending, id) or 0)}
    redis.call('SREM', taken, id)
    redis.call('HSETNX', attempts, id, '0')
  end
end
local count = #chosen
let_wait(chosen, true)
return count
