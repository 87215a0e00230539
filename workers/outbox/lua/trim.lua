-- Drop the oldest entries of a stream, but none that a registered group has yet to settle.
--
-- KEYS[1] the stream
-- ARGV[1] how many entries to keep
-- ARGV[2] for how many milliseconds to keep them
-- ARGV[3] how many entries there may be at most, whoever has yet to settle them
-- ARGV[4] how many entries one call may drop for the sake of a number
--
-- Returns how many entries were dropped, how many of them somebody had yet to settle, and the
-- group that holds old entries back, if one does.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function before(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end

local function named(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

-- The oldest entry that any group still needs, and whose it is.
local function needed()
  local floor, holder
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = named(flat)
    local ms, seq = parts(group['last-delivered-id'])
    local first = string.format('%.0f-%.0f', ms, seq + 1)
    if group['pending'] > 0 then
      first = redis.call('XPENDING', KEYS[1], group['name'])[2]
    end
    if not floor or before(first, floor) then
      floor, holder = first, group['name']
    end
  end
  return floor, holder
end

local count = redis.call('XLEN', KEYS[1])
if count == 0 then
  return {0, 0, ''}
end
local step = tonumber(ARGV[4])
local now = redis.call('TIME')
local cut = string.format('%.0f-0', math.max(0, now[1] * 1000 - tonumber(ARGV[2])))
local excess = math.min(count - tonumber(ARGV[1]), step)
if excess > 0 then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess + 1)
  local first = oldest[#oldest][1]
  if before(cut, first) then
    cut = first
  end
end
local floor, holder = needed()
local held = ''
if floor and before(floor, cut) then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
  -- Whoever has read everything holds nothing back.
  if not before(last, floor) then
    cut, held = floor, holder
  end
end
local dropped = redis.call('XTRIM', KEYS[1], 'MINID', cut)
local unread = math.min(count - dropped - tonumber(ARGV[3]), step)
if held ~= '' and unread > 0 then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', count - dropped - unread)
  return {dropped + unread, unread, held}
end
return {dropped, 0, held}
