-- What all scripts share: the names of a queue's keys, stamps, and who is to be woken.
--
-- KEYS[1] <queue>           list: ids of waiting messages, oldest first
-- KEYS[2] <namespace>       what the names of the keys that all queues share begin with
--   <queue>.msgs            hash: id -> message
--   <queue>.pending         sorted set: id -> stamp of its first command, in microseconds
--   <queue>.attempts        hash: id -> how many takers died; 0 for one whose stamp is beyond doubt
--   <queue>.subjects        hash: id -> what its unsettled commands are about, as its reader found
--   <queue>.waiters         hash: id -> workers to be woken when it is settled, or less of it is left
--   <queue>.bell            list: a few strikes that wake idle workers
--   <queue>.taken.<worker>  set: ids that this worker has taken and not yet settled
--   <queue>.floor           microseconds: no new message can bear an earlier stamp
--   <namespace>:stamp       the last stamp given
--   <namespace>:workers     sorted set: worker -> when it was last heard of, in milliseconds
--   <namespace>:epoch       since when this server remembers, in microseconds; see fetch.lua
--   <namespace>:bell.<worker>  list: strikes for one worker
local queue, namespace = KEYS[1], KEYS[2]
local messages, pending, attempts = queue .. '.msgs', queue .. '.pending', queue .. '.attempts'
local subjects, waiters, bell = queue .. '.subjects', queue .. '.waiters', queue .. '.bell'

local function whole(number)
  return string.format('%.0f', number)
end

local function micros_now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function taken_by(worker)
  return queue .. '.taken.' .. worker
end

local function ring(key)
  if redis.call('LLEN', key) < 16 then
    redis.call('RPUSH', key, '1')
  end
end

-- Give out `count` stamps and return the first: the present, or the next number nobody has.
-- A last stamp an hour ahead of all clocks is not ours: better to begin again.
local function take_stamps(count)
  local now = micros_now()
  local last = tonumber(redis.call('GET', namespace .. ':stamp') or 0) or 0
  local first = last < now + 3600000000 and math.max(now, last + 1) or now
  redis.call('SET', namespace .. ':stamp', whole(first + count - 1))
  return first
end

-- Read a score as a stamp; none where no clock can have given it: somebody else has written there.
local function stamp_of(score)
  local stamp = tonumber(score or nil)
  return stamp and stamp >= 0 and stamp < 9007199254740992 and math.floor(stamp) or nil
end

-- Wake whoever waits until these messages are settled, or less of them is left.
local function wake_waiters(ids)
  if #ids == 0 or redis.call('EXISTS', waiters) == 0 then
    return
  end
  for _, names in ipairs(redis.call('HMGET', waiters, unpack(ids))) do
    for worker in string.gmatch(names or '', '[^,]+') do
      local key = namespace .. ':bell.' .. worker
      ring(key)
      redis.call('PEXPIRE', key, 60000)
    end
  end
  redis.call('HDEL', waiters, unpack(ids))
end

-- Forget everything about messages: they are settled, or nobody can settle them.
local function forget(ids)
  for _, id in ipairs(ids) do
    redis.call('HDEL', messages, id)
    redis.call('ZREM', pending, id)
  end
  if #ids > 0 then
    redis.call('HDEL', subjects, unpack(ids))
    redis.call('HDEL', attempts, unpack(ids))
    wake_waiters(ids)
  end
end

-- Let messages, given as {id, stamp}, wait by order of their stamps, where most have their place:
-- at the head of the queue or at its tail. One without a stamp came in later than all.
local function let_wait(chosen, at_head)
  if #chosen == 0 then
    return
  end
  local function earlier(left, right)
    return left[2] < right[2] or left[2] == right[2] and left[1] < right[1]
  end
  table.sort(chosen, earlier)
  local pop, push = at_head and 'LPOP' or 'RPOP', at_head and 'LPUSH' or 'RPUSH'
  local edge, merged = at_head and chosen[#chosen] or chosen[1], chosen
  while true do
    local id = redis.call('LINDEX', queue, at_head and 0 or -1)
    if not id then
      break
    end
    local waiting = {id, tonumber(redis.call('ZSCORE', pending, id) or nil) or math.huge}
    if at_head and not earlier(waiting, edge) or not at_head and not earlier(edge, waiting) then
      break
    end
    redis.call(pop, queue)
    merged[#merged + 1] = waiting
  end
  table.sort(merged, earlier)
  for n = 1, #merged do
    redis.call(push, queue, merged[at_head and #merged + 1 - n or n][1])
  end
  ring(bell)
end
-- Enqueue messages, stamping each with the one clock that decides: this server's.
--
-- ARGV[1] how many messages may wait at most
-- ARGV[2..] per message: id, how many commands it carries, its text
--
-- Returns the stamp of each message's first command, the others follow it without gaps; nothing
-- when the queue is full. A repeated call changes nothing while the first one's messages are still
-- there, and is told their stamps.
if redis.call('LLEN', queue) + (#ARGV - 1) / 3 > tonumber(ARGV[1]) then
  return {}
end
local total = 0
for i = 3, #ARGV, 3 do
  total = total + tonumber(ARGV[i])
end
local stamps, stamp = {}, take_stamps(total)
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  if redis.call('HSETNX', messages, id, ARGV[i + 2]) == 1 then
    stamps[#stamps + 1] = whole(stamp)
    redis.call('ZADD', pending, stamps[#stamps], id)
    redis.call('RPUSH', queue, id)
  else
    stamps[#stamps + 1] = whole(stamp_of(redis.call('ZSCORE', pending, id)) or stamp)
  end
  stamp = stamp + tonumber(ARGV[i + 1])
end
ring(bell)
return stamps
