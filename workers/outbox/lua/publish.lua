-- Publish events, all or none, to a server that has forgotten nothing of what it was told.
--
-- KEYS[1] what the server remembers, see workers/outbox/recovery.py
-- KEYS[2] stream: every event
-- KEYS[3] stream: the reminders among them
-- KEYS[4] what was published last, see workers/outbox/timeline.py
-- ARGV[1] what it must remember for this: `server` is its own name; empty if that does not matter
-- ARGV[2] the timeline's own name, ARGV[3] its number
-- ARGV[4] the position of the last event, ARGV[5] its name
-- ARGV[6..] per event: 1 if it reminds somebody, or 0; the event
--
-- Returns 1, or 0 when nothing was published.
local needed = ARGV[1]
if needed == 'server' then
  needed = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end
if needed ~= '' and redis.call('GET', KEYS[1]) ~= needed then
  return 0
end
for i = 6, #ARGV, 2 do
  redis.call('XADD', KEYS[2], '*', 'event', ARGV[i + 1])
  if ARGV[i] == '1' then
    redis.call('XADD', KEYS[3], '*', 'event', ARGV[i + 1])
  end
end
local last = redis.call('HMGET', KEYS[4], 'timeline', 'position')
if last[1] ~= ARGV[2] or tonumber(last[2]) < tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[4], 'timeline', ARGV[2], 'number', ARGV[3],
    'position', ARGV[4], 'event', ARGV[5])
end
return 1
