-- Hand in messages whose stamps are given: rows of the inbox, kept in the database.
--
-- ARGV[1] '1' where most have waited longer than what waits here
-- ARGV[2..] per message: id, stamp of its first command, its text
--
-- Returns how many are new here. A message that is still waiting, or taken, is not doubled.
local chosen = {}
for i = 2, #ARGV, 3 do
  if redis.call('HSETNX', messages, ARGV[i], ARGV[i + 2]) == 1 then
    redis.call('ZADD', pending, ARGV[i + 1], ARGV[i])
    redis.call('HSETNX', attempts, ARGV[i], '0')
    chosen[#chosen + 1] = {ARGV[i], tonumber(ARGV[i + 1])}
  end
end
local handed = #chosen
let_wait(chosen, ARGV[1] == '1')
return handed
