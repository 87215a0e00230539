-- Find messages that nobody has and that do not wait, and entries that stand for no message.
--
-- ARGV[1] 'count' to look whether the numbers agree, 'mend' to look at every id and put it right
-- ARGV[2] ids beyond which looking at every one would keep others waiting too long
-- ARGV[3] microseconds that a reservation lives without its message
--
-- Returns how many messages were put back, how many entries were dropped, and '1' if the numbers
-- did not agree. They always agree between two scripts, unless something was lost.
local workers = redis.call('ZRANGE', namespace .. ':workers', 0, -1)
local count, waiting, taken = redis.call('HLEN', messages), redis.call('LLEN', queue), 0
for _, worker in ipairs(workers) do
  taken = taken + redis.call('SCARD', taken_by(worker))
end
-- Somebody has reserved stamps, and will hand in the messages unless it has died meanwhile. Only the
-- earliest are looked at: what is stale among those is what others wait for first.
local stale, reserved_before = {}, micros_now() - tonumber(ARGV[3])
local oldest =
  redis.call('ZRANGEBYSCORE', pending, '-inf', whole(reserved_before), 'LIMIT', 0, 1000)
for _, id in ipairs(oldest) do
  if redis.call('HEXISTS', messages, id) == 0 then
    stale[#stale + 1] = id
  end
end
forget(stale)
local dropped = #stale
local agree = count == waiting + taken
local odd = agree and '0' or '1'
if ARGV[1] == 'count' or math.max(count, waiting) > tonumber(ARGV[2]) then
  return {0, dropped, odd}
end

local known, chosen = {}, {}
for _, id in ipairs(redis.call('LRANGE', queue, 0, -1)) do
  known[id] = true
end
for _, worker in ipairs(workers) do
  for _, id in ipairs(redis.call('SMEMBERS', taken_by(worker))) do
    known[id] = true
    if redis.call('HEXISTS', messages, id) == 0 then
      redis.call('SREM', taken_by(worker), id)
      dropped = dropped + 1
    end
  end
end
for _, id in ipairs(redis.call('HKEYS', messages)) do
  if not known[id] then
    chosen[#chosen + 1] = {id, tonumber(redis.call('ZSCORE', pending, id) or nil) or math.huge}
    redis.call('HSETNX', attempts, id, '0')
  end
end
local mended = #chosen
let_wait(chosen, true)
for _, key in ipairs({attempts, subjects, waiters}) do
  for _, id in ipairs(redis.call('HKEYS', key)) do
    if redis.call('HEXISTS', messages, id) == 0 and not redis.call('ZSCORE', pending, id) then
      dropped = dropped + redis.call('HDEL', key, id)
    end
  end
end
return {mended, dropped, odd}
