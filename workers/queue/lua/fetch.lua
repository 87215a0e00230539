-- Take waiting messages, and show that the taker is alive.
--
-- KEYS[1] <queue>           list: ids of waiting messages, oldest first
-- KEYS[2] <queue>.msgs      hash: id -> message
-- KEYS[3] <queue>.pending   sorted set: id -> when it was received, in microseconds
-- KEYS[4] <queue>.attempts  hash: id -> how many takers died; 0 for one that was given back
-- KEYS[5] <queue>.floor     microseconds: nothing that comes in now can have come in earlier
-- KEYS[6] acks              set: ids that this consumer has taken and not yet settled
-- KEYS[7] heartbeats        sorted set: consumer -> when it was last heard of, in milliseconds
-- KEYS[8] epoch             since when this server remembers, in microseconds; see below
-- ARGV[1] the consumer's id
-- ARGV[2] how many messages to take at most
-- ARGV[3] how many the taker's process is working on
-- ARGV[4] how many it may work on at once, for the sake of those
-- ARGV[5] how many a message may keep company whose taker has died once
-- ARGV[6] bytes of the longest message worth handing out whole
-- ARGV[7] bytes worth handing out at once
-- ARGV[8] the epoch that the taker remembers, or ''
--
-- Returns the epoch, '1' if messages were left although there was room, and for each message
-- taken: id, text, size, instant of receipt or '', deaths of takers, '1' if taken for the first
-- time. Of a text that is too long only the beginning is handed out.
--
-- A taker that remembers another epoch gets nothing: what it holds was wiped from here, and it
-- has to say so first. An epoch below zero began with nobody to remember anything.
local micros = function(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[7], micros(math.floor(now / 1000)), ARGV[1])

local epoch = redis.call('GET', KEYS[8])
if not epoch or (ARGV[8] ~= '' and epoch ~= ARGV[8] and (tonumber(epoch) or 0) < 0) then
  epoch = micros(ARGV[8] == '' and -now or now)
  redis.call('SET', KEYS[8], epoch)
end
if ARGV[8] ~= '' and epoch ~= ARGV[8] then
  return {epoch, '0'}
end

local limit = tonumber(ARGV[2])
if limit < 1 then
  return {epoch, '0'}
end
local ids = redis.call('LRANGE', KEYS[1], 0, limit - 1)
if #ids == 0 then
  redis.call('SET', KEYS[5], micros(now))
  return {epoch, '0'}
end
local attempts = {}
if redis.call('EXISTS', KEYS[4]) == 1 then
  attempts = redis.call('HMGET', KEYS[4], unpack(ids))
end

-- One whose taker has died is taken in little company, and after the second death alone: so
-- that the third counts against the one that killed, and not against its neighbours.
local hands, company = tonumber(ARGV[3]), tonumber(ARGV[4])
local sizes, picked, bytes = {}, 0, 0
for i = 1, #ids do
  local deaths = tonumber(attempts[i] or 0) or 0
  local most = deaths > 1 and 1 or deaths == 1 and tonumber(ARGV[5]) or company
  sizes[i] = redis.call('HSTRLEN', KEYS[2], ids[i])
  if hands + picked >= math.min(most, company)
    or (picked > 0 and bytes + sizes[i] > tonumber(ARGV[7])) then
    break
  end
  company = math.min(most, company)
  picked, bytes = i, bytes + math.min(sizes[i], tonumber(ARGV[6]))
end
if picked == 0 then
  return {epoch, '1'}
end
redis.call('LTRIM', KEYS[1], picked, -1)

local floor = tonumber(redis.call('GET', KEYS[5])) or 0
local scores = redis.call('ZMSCORE', KEYS[3], unpack(ids, 1, picked))
local found = {epoch, picked < #ids and '1' or '0'}
for i = 1, picked do
  local id, size, score = ids[i], sizes[i], tonumber(scores[i] or nil)
  if size == 0 then
    -- Settled already, never there, or empty: nobody can settle nothing, so nobody keeps it.
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  else
    redis.call('SADD', KEYS[6], id)
    if score then
      -- Ids come in one by one at the end of the list, so a receipt before its predecessor's,
      -- or one in the future, is a forgery or a clock set back: nobody gains by either.
      local true_score = math.max(attempts[i] and 0 or floor, math.min(score, now))
      if true_score ~= score then
        score = true_score
        redis.call('ZADD', KEYS[3], micros(score), id)
      end
      floor = math.max(floor, score)
    end
    local text = ''
    if size <= tonumber(ARGV[6]) then
      text = redis.call('HGET', KEYS[2], id)
    elseif size <= 16 * tonumber(ARGV[6]) then
      text = string.sub(redis.call('HGET', KEYS[2], id), 1, 4096)
    end
    local n = #found
    found[n + 1], found[n + 2], found[n + 3] = id, text, size
    found[n + 4], found[n + 5] = score and micros(score) or '', tonumber(attempts[i] or 0) or 0
    found[n + 6] = attempts[i] and '0' or '1'
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  floor = math.max(floor, now)
end
redis.call('SET', KEYS[5], micros(floor))
return found
