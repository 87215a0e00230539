-- Give the messages of workers that have died back to the queue, in order.
--
-- ARGV[1] milliseconds of silence after which a worker counts as dead
-- ARGV[2] '1' to forget the dead workers: with the last of the queues
--
-- Returns the ids given back.
local workers = namespace .. ':workers'
local before = math.floor(micros_now() / 1000) - tonumber(ARGV[1])
local chosen, rescued = {}, {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', before)) do
  for _, id in ipairs(redis.call('SMEMBERS', taken_by(worker))) do
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', pending, id) or 0)}
    redis.call('HINCRBY', attempts, id, 1)
    rescued[#rescued + 1] = id
  end
  redis.call('DEL', taken_by(worker))
  if ARGV[2] == '1' then
    redis.call('ZREM', workers, worker)
  end
end
let_wait(chosen, true)
return rescued
