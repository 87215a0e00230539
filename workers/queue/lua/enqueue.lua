-- Enqueue messages, stamping each with the one clock that decides: this server's.
--
-- KEYS[1] <queue>          list: ids of waiting messages, oldest first
-- KEYS[2] <queue>.msgs     hash: id -> message
-- KEYS[3] <queue>.pending  sorted set: id -> when it was received, in microseconds
-- KEYS[4] <queue>.bell     list: a few strikes that wake idle consumers
-- KEYS[5] <queue>.stamp    the last stamp given
-- ARGV[1] how many messages may wait at most
-- ARGV[2..] per message: id, how many commands it carries, its text before and after the stamp
--
-- Returns the first command's stamp, or 0 when the queue is full. Stamps are the instant of
-- receipt in microseconds, or the next number that nobody has. A repeated call changes nothing
-- while the first one's messages are still there.
local count = (#ARGV - 1) / 4
if redis.call('LLEN', KEYS[1]) + count > tonumber(ARGV[1]) then
  return '0'
end
local now = redis.call('TIME')
local micros = now[1] * 1000000 + now[2]
local last = tonumber(redis.call('GET', KEYS[5]) or 0) or 0
-- A last stamp an hour ahead of all clocks is not ours: better to begin again.
local first = last < micros + 3600000000 and math.max(micros, last + 1) or micros
local stamp = first
for i = 2, #ARGV, 4 do
  local at = string.format('%.0f,"stamp":%.0f', micros, stamp)
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 2] .. at .. ARGV[i + 3]) == 1 then
    redis.call('RPUSH', KEYS[1], ARGV[i])
    redis.call('ZADD', KEYS[3], string.format('%.0f', micros), ARGV[i])
  end
  stamp = stamp + tonumber(ARGV[i + 1])
end
redis.call('SET', KEYS[5], string.format('%.0f', stamp - 1))
if redis.call('LLEN', KEYS[4]) < 16 then
  redis.call('RPUSH', KEYS[4], '1')
end
return string.format('%.0f', first)
