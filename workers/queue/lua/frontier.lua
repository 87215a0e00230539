-- Say what a worker's commands are about, and learn which earlier ones are not settled yet.
--
-- ARGV[1] up to which stamp to look, as a bound of a sorted set
-- ARGV[2] 'texts' to be given the text of what nobody has read yet, 'stop' to look no further there
-- ARGV[3] bytes of texts worth handing out
-- ARGV[4..] per message of the worker's: id, what its commands are about
--
-- Returns the epoch or '', the present, the stamp from which on nothing is known or '', and for each
-- earlier message of others: id, stamp, and what its commands are about after a '1', or, where it
-- has not been read, its text after a '0'. What is settled leaves for ever, and nothing earlier can
-- come: one look suffices.
local reply = {redis.call('GET', namespace .. ':epoch') or '', whole(micros_now()), ''}
local own, ids, notes = {}, {}, {}
for i = 4, #ARGV, 2 do
  own[ARGV[i]] = true
  ids[#ids + 1] = ARGV[i]
end
if #ids > 0 then
  -- A worker that was frozen may bring up what another has settled meanwhile.
  for i, stamp in ipairs(redis.call('ZMSCORE', pending, unpack(ids))) do
    if stamp then
      notes[#notes + 1] = ids[i]
      notes[#notes + 1] = ARGV[3 + 2 * i]
    end
  end
end
if #notes > 0 then
  redis.call('HSET', subjects, unpack(notes))
end
local offset, page, bytes = 0, 512, 0
while true do
  local entries =
    redis.call('ZRANGEBYSCORE', pending, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', offset, page)
  local others, stamps = {}, {}
  for i = 1, #entries, 2 do
    if not own[entries[i]] then
      others[#others + 1] = entries[i]
      stamps[#stamps + 1] = whole(stamp_of(entries[i + 1]) or 0)
    end
  end
  local known = #others > 0 and redis.call('HMGET', subjects, unpack(others)) or {}
  for i = 1, #others do
    local n, text = #reply, known[i]
    if text then
      reply[n + 1], reply[n + 2], reply[n + 3] = others[i], stamps[i], '1' .. text
    else
      -- Nobody can settle what is not there: that is mended, and nobody waits for it.
      local size = redis.call('HSTRLEN', messages, others[i])
      bytes = bytes + size
      if size > 0 and (ARGV[2] == 'stop' or bytes > tonumber(ARGV[3])) then
        reply[3] = stamps[i]
        reply[n + 1], reply[n + 2], reply[n + 3] = others[i], stamps[i], '0'
        return reply
      elseif size > 0 then
        text = '0' .. redis.call('HGET', messages, others[i])
        reply[n + 1], reply[n + 2], reply[n + 3] = others[i], stamps[i], text
      end
    end
  end
  if #entries < 2 * page then
    return reply
  end
  offset = offset + page
end
