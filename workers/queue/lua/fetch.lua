-- Take waiting messages, and show that the taker is alive.
--
-- ARGV[1] the worker's id
-- ARGV[2] how many messages to take at most
-- ARGV[3] how many the worker is working on
-- ARGV[4] how many it may work on at once, for the sake of those
-- ARGV[5] how many may be beside a message whose taker has died once
-- ARGV[6] bytes of the longest message worth handing out whole
-- ARGV[7] bytes worth handing out at once
-- ARGV[8] the epoch that the worker remembers, or ''
-- ARGV[9] take only what bears an earlier stamp than this, or '' for anything
-- ARGV[10] how many commands a message may carry at most
--
-- Returns the epoch, '1' if messages were left although there was room, and for each message
-- taken: id, text, size, stamp, deaths of takers. Of a text that is too long only the beginning is
-- handed out. What somebody else's Dramatiq has sent bears no stamp yet, and gets one now.
--
-- A worker that remembers another epoch gets nothing: what it holds was wiped from here, and it
-- has to say so first. An epoch below zero began with nobody to remember anything.
local worker, floor_key, epoch_key = ARGV[1], queue .. '.floor', namespace .. ':epoch'
local now = micros_now()
redis.call('ZADD', namespace .. ':workers', whole(math.floor(now / 1000)), worker)

local epoch = redis.call('GET', epoch_key)
if not epoch or (ARGV[8] ~= '' and epoch ~= ARGV[8] and (tonumber(epoch) or 0) < 0) then
  epoch = whole(ARGV[8] == '' and -now or now)
  redis.call('SET', epoch_key, epoch)
end
if ARGV[8] ~= '' and epoch ~= ARGV[8] then
  return {epoch, '0'}
end

local limit = tonumber(ARGV[2])
if limit < 1 then
  return {epoch, '0'}
end
local ids = redis.call('LRANGE', queue, 0, limit - 1)
if #ids == 0 then
  redis.call('SET', floor_key, whole(now))
  return {epoch, '0'}
end
local deaths = {}
if redis.call('EXISTS', attempts) == 1 then
  deaths = redis.call('HMGET', attempts, unpack(ids))
end
local scores = redis.call('ZMSCORE', pending, unpack(ids))

-- One whose taker has died is taken beside few others, and after the second death alone: so
-- that the third counts against the one that killed, and not against its neighbours.
local at_work, allowed = tonumber(ARGV[3]), tonumber(ARGV[4])
local before = tonumber(ARGV[9])
local sizes, picked, bytes = {}, 0, 0
for i = 1, #ids do
  local died = tonumber(deaths[i] or 0) or 0
  local most = died > 1 and 1 or died == 1 and tonumber(ARGV[5]) or allowed
  sizes[i] = redis.call('HSTRLEN', messages, ids[i])
  if at_work + picked >= math.min(most, allowed)
    or (picked > 0 and bytes + sizes[i] > tonumber(ARGV[7]))
    or (before and (stamp_of(scores[i]) or now) >= before) then
    break
  end
  allowed = math.min(most, allowed)
  picked, bytes = i, bytes + math.min(sizes[i], tonumber(ARGV[6]))
end
if picked == 0 then
  return {epoch, before and '0' or '1'}
end
redis.call('LTRIM', queue, picked, -1)

local floor = tonumber(redis.call('GET', floor_key)) or 0
local last = tonumber(redis.call('GET', namespace .. ':stamp') or 0) or 0
local reply = {epoch, picked < #ids and '1' or '0'}
for i = 1, picked do
  local id, size, stamp = ids[i], sizes[i], stamp_of(scores[i])
  if size == 0 then
    -- Settled already, never there, or empty: nobody can settle nothing, so nobody keeps it.
    forget({id})
  else
    redis.call('SADD', taken_by(worker), id)
    -- New ones wait in the order of their stamps: a stamp before its predecessor's, or one that was
    -- never given, is a forgery, and nobody gains by it.
    local forged = stamp and (stamp > now + 3600000000
      or not deaths[i] and (stamp < floor or stamp > last))
    if not stamp or forged then
      stamp = take_stamps(tonumber(ARGV[10]))
      redis.call('ZADD', pending, whole(stamp), id)
    elseif not deaths[i] then
      floor = stamp
    end
    local text = ''
    if size <= tonumber(ARGV[6]) then
      text = redis.call('HGET', messages, id)
    elseif size <= 16 * tonumber(ARGV[6]) then
      text = string.sub(redis.call('HGET', messages, id), 1, 4096)
    end
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = id, text, size
    reply[n + 4], reply[n + 5] = whole(stamp), tonumber(deaths[i] or 0) or 0
  end
end
redis.call('SET', floor_key, whole(floor))
return reply
