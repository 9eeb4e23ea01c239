-- Slows down what Plaid refused: at once by a factor, back by a tenth a window. After meter.lua.
--
-- KEYS: the client's meter, the Item's.
-- ARGV: now, window, limit of the client, limit of an Item, scope (client, item, or empty when Plaid did not say),
--       milliseconds that Plaid asked to wait (empty: it did not).
-- Answer: the scope that was slowed down, and its share in thousandths.
local client = open(KEYS[1], tonumber(ARGV[3]), CLIENT_SLOTS)
local item = open(KEYS[2], tonumber(ARGV[4]), ITEM_SLOTS)
local fuller = item.total * client.limit >= client.total * item.limit and 'item' or 'client'
local scope = ARGV[5] ~= '' and ARGV[5] or fuller
local meter = scope == 'item' and item or client
local factor = scope == 'item' and 0.5 or 0.9
local hold = tonumber(ARGV[6]) or (scope == 'item' and window / 12 or window / 60)

-- Calls that were under way together are refused together: that is one signal, not many.
if now - meter.cut >= window / 60 then
  meter.share = math.max(0.1, meter.share * factor)
  redis.call('HSET', meter.key, 'share', meter.share, 'cut', now)
end
meter.held = math.max(meter.held, math.floor(now + hold))
redis.call('HSET', meter.key, 'held', meter.held)
meter.changed = true
save(client)
save(item)
return {scope, math.floor(meter.share * 1000)}
