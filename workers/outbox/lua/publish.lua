-- Publish events, all or none, to a server that has forgotten nothing of what it was told.
--
-- KEYS[1] what the server remembers, see workers/outbox/recovery.py
-- KEYS[2] stream: every event
-- KEYS[3] stream: the reminders among them
-- ARGV[1] what it must remember for this: `server` is its own name; empty if that does not matter
-- ARGV[2..] per event: 1 if it reminds somebody, or 0; the event
--
-- Returns 1, or 0 when nothing was published.
local needed = ARGV[1]
if needed == 'server' then
  needed = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end
if needed ~= '' and redis.call('GET', KEYS[1]) ~= needed then
  return 0
end
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[2], '*', 'event', ARGV[i + 1])
  if ARGV[i] == '1' then
    redis.call('XADD', KEYS[3], '*', 'event', ARGV[i + 1])
  end
end
return 1
