-- Say again what a worker has taken, after the server may have forgotten it.
--
-- ARGV[1] the worker's id
-- ARGV[2..] per message: id, text, stamp, attempts
local taken = taken_by(ARGV[1])
for i = 2, #ARGV, 4 do
  redis.call('HSETNX', messages, ARGV[i], ARGV[i + 1])
  redis.call('ZADD', pending, 'NX', ARGV[i + 2], ARGV[i])
  redis.call('HSETNX', attempts, ARGV[i], ARGV[i + 3])
  redis.call('SADD', taken, ARGV[i])
end
return (#ARGV - 1) / 4
