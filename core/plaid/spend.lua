-- Grants to as many of the waiting Items as the client's and their own budgets allow. After meter.lua.
--
-- KEYS: the client's meter, then the Item of each waiter, in the order in which they are served.
-- ARGV: now (empty: the server's), window, limit of the client, limit of an Item, client tokens given back, their
--       slot, then the class of each waiter: 0 urgent, 1 scheduled, 2 backfill.
-- Answer: the client's total, limit now in force, tokens for the process's local share, their slot, the adaptive
--       share in thousandths, milliseconds until the client may have tokens; then for each waiter the Item's tokens,
--       0 when the client has none for it, or, negative, the milliseconds until its Item has.
local client = open(KEYS[1], tonumber(ARGV[3]), CLIENT_SLOTS)
local item_limit = tonumber(ARGV[4])
local step = math.floor(client.limit / 100 + 0.5)
local half = math.floor(client.limit / 2)

local function give_back(count, slot)
  if count == 0 or slot < client.oldest then return end
  local name = 's' .. slot
  count = math.min(count, tonumber(redis.call('HGET', client.key, name)) or 0)
  redis.call('HINCRBY', client.key, name, -count)
  client.total = client.total - count
end
give_back(tonumber(ARGV[5]), tonumber(ARGV[6]))

-- The fastest even pace that the window can keep up without a pause: at each moment ahead, what is free now and
-- what will have left the window by then must suffice. It spreads a burst's echo instead of repeating it a minute
-- later. The next seconds do not count: a steady stream frees each moment what it is about to use.
local function even_pace()
  local names = {}
  for slot = client.oldest, client.slot do names[#names + 1] = 's' .. slot end
  local free = client.limit - 2 * step - client.total
  local pace = (client.limit - 2 * step) / kept
  for index, count in ipairs(redis.call('HMGET', client.key, unpack(names))) do
    local ahead = (client.oldest + index) * client.span + kept - now
    if ahead > window / 30 then pace = math.min(pace, free / ahead) end
    free = free + (tonumber(count) or 0)
  end
  return math.max(pace, client.limit / kept / 20)
end

local told = redis.call('HMGET', client.key, 'credit', 'credit_at', 'pace', 'paced', 'served1', 'served2')
local pace = tonumber(told[3])
if not pace or tonumber(told[4]) ~= client.slot then pace = even_pace() end
local credit = (tonumber(told[1]) or 0) + (now - (tonumber(told[2]) or now)) * pace
credit = math.min(credit, math.max(1, pace * window / 60))
local served = {[0] = now, tonumber(told[5]) or 0, tonumber(told[6]) or 0}

-- A class that got nothing for as long as a twentieth of the rate would have taken is due one token before all.
local function starves(class)
  return class > 0 and now - served[class] > kept / (client.limit * 0.05)
end

-- Up to half of the limit goes at once. Beyond, everybody keeps the pace; the urgent may run ahead of it by two
-- hundredths of the limit, which the others leave free, and those behind wait until the pace has caught up.
local function quota(class)
  if starves(class) then return client.limit - client.total end
  local free = client.limit - class * step - client.total
  return math.min(free, math.max(half - client.total, math.floor(credit + (2 - class) * step)))
end

local function client_wait(class)
  if now < client.held then return client.held - now end
  if client.limit - class * step - client.total < 1 then return until_free(client) end
  return (1 - credit - (2 - class) * step) / pace
end

local function grant(item, class)
  take(client, 1)
  if client.total > half then credit = credit - 1 end
  served[class] = now
  -- An Item with a long history asks again at once: while it has plenty, a few pages need no further question.
  local tokens = item.total * 2 < item.limit and math.min(4, math.max(1, math.floor(item.limit / 8))) or 1
  take(item, tokens)
  return tokens
end

local items = {}
local wait = 0
local function serve(key, class)
  if now < client.held or quota(class) < 1 then
    -- The first to be denied is the most urgent: its wait is the shortest.
    if wait == 0 then wait = math.max(1, math.ceil(client_wait(class))) end
    return 0
  end
  items[key] = items[key] or open(key, item_limit, ITEM_SLOTS)
  local item = items[key]
  if now < item.held then return -math.ceil(item.held - now) end
  if item.total >= item.limit then return -math.ceil(until_free(item)) end
  return grant(item, class)
end

local answers = {}
for index = 2, #KEYS do answers[#answers + 1] = serve(KEYS[index], tonumber(ARGV[index + 5])) end

-- A local share is for times of plenty only: near the limit every token is asked for.
local extra = math.max(0, math.min(3 * client.taken, 64, math.floor((half - client.total) / 8)))
take(client, extra)
redis.call('HSET', client.key, 'credit', credit, 'credit_at', now, 'pace', pace, 'paced', client.slot,
  'served1', served[1], 'served2', served[2])
client.changed = true
save(client)
for _, item in pairs(items) do save(item) end
return {client.total, client.limit, extra, client.slot, math.floor(client.share * 1000), wait, unpack(answers)}
