-- A meter: what was granted under one key in the last window, counted in slots. Times are milliseconds.
--
-- A grant may reach Plaid up to an eightieth of a window (0.75 s of a minute) after it was written down: half a
-- second in a process's local share, the rest on the way. So a slot counts until its whole span is older than
-- window and lateness together, and no window that Plaid could lay, fixed or sliding, sees more than the limit.
local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = clock()
local window = tonumber(ARGV[2])
local kept = window + math.floor(window / 80)
local RECOVERY = 10 * window
local CLIENT_SLOTS, ITEM_SLOTS = 120, 24

-- Drops the slots that have left the window: each once, so the cost of a call does not grow with the limit.
local function forget(meter, first, slots)
  local names = {}
  for slot = meter.oldest, math.min(first - 1, meter.oldest + slots + 3) do names[#names + 1] = 's' .. slot end
  for _, count in ipairs(redis.call('HMGET', meter.key, unpack(names))) do
    meter.total = meter.total - (tonumber(count) or 0)
  end
  redis.call('HDEL', meter.key, unpack(names))
  meter.oldest = first
  meter.changed = true
end

local function open(key, limit, slots)
  local span = math.max(1, math.floor(window / slots))
  local slot = math.floor(now / span)
  local told = redis.call('HMGET', key, 'total', 'oldest', 'held', 'share', 'cut')
  if (tonumber(told[2]) or 0) > slot then
    -- The clock went back (a failover): nothing here would ever leave the window.
    redis.call('DEL', key)
    told = {}
  end
  local meter = {
    key = key, span = span, slot = slot, taken = 0,
    total = tonumber(told[1]) or 0, oldest = tonumber(told[2]) or slot,
    held = tonumber(told[3]) or 0, cut = tonumber(told[5]) or 0,
  }
  meter.share = math.min(1, (tonumber(told[4]) or 1) + (now - meter.cut) / RECOVERY)
  meter.limit = math.max(1, math.floor(limit * meter.share))
  local first = math.floor((now - kept) / span)
  if meter.oldest < first then forget(meter, first, slots) end
  return meter
end

-- Milliseconds until the oldest grant leaves the window.
local function until_free(meter)
  local names = {}
  for slot = meter.oldest, meter.slot do names[#names + 1] = 's' .. slot end
  for index, count in ipairs(redis.call('HMGET', meter.key, unpack(names))) do
    if (tonumber(count) or 0) > 0 then return math.max(1, (meter.oldest + index) * meter.span + kept - now) end
  end
  return meter.span
end

local function take(meter, count)
  meter.total = meter.total + count
  meter.taken = meter.taken + count
  meter.changed = true
end

local function save(meter)
  if not meter.changed then return end
  redis.call('HSET', meter.key, 'total', meter.total, 'oldest', meter.oldest)
  if meter.taken > 0 then redis.call('HINCRBY', meter.key, 's' .. meter.slot, meter.taken) end
  local life = math.max(kept + 2 * meter.span, meter.held - now, (1 - meter.share) * RECOVERY)
  redis.call('PEXPIRE', meter.key, math.ceil(life))
end
