-- One claim about one quota. KEYS[1] is a hash: a field for each holder and the field
-- ' quota' for what is common to all. It is one key so that the engine loses all of it or
-- nothing, by eviction too: a quota whose holders are partly forgotten would be exceeded.
-- Nothing is written before every value has been read and understood.
--
-- Instants and durations are in microseconds. "now" is the time of the quota: the clock of
-- the server and an offset, so that it neither goes back nor jumps when that clock is set.
local key, holder = KEYS[1], ARGV[1]
local hi, lo, nonce = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local has, want, least = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local prio, limit, lease = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local latest, correct = tonumber(ARGV[11]), ARGV[12] == '1'
local base = math.min(least, want)

local STALE, LATE, GRANTED = 1, 2, 3 -- kinds of replies
local COMMON = ' quota'
local NEVER = 9e15
local FORGET = 86400e6 -- how long the key outlives the last lease

-- Fields of a holder.
local HI, LO, NONCE, GRANT, WANT, LEAST, PRIO, LIMIT, ENDS, LEASE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local WIDTH = 10

-- Fields of the quota.
local FORM, RUN, LEARN, LAST, OFFSET, FENCE, DIES = 1, 2, 3, 4, 5, 6, 7
local TOTAL, COUNT, DEMAND, LOW, HIGH, LONGEST = 8, 9, 10, 11, 12, 13
local NEXT, NEXTS, MODE, FOR, LEVELED, LEVEL, CUT = 14, 15, 16, 17, 18, 19, 20
local BREADTH = 20

-- How targets follow from MODE. In SHORT and SCARCE, holders with a priority above LEVELED
-- get all, those below it their minimum (SHORT) or nothing (SCARCE), and those that have it
-- what LEVEL says.
local UNKNOWN = 0 -- to be computed
local AMPLE = 1   -- the wants fit: the target is the want
local SHORT = 2   -- the minimums fit
local SCARCE = 3  -- the minimums do not fit

local function corrupt() return redis.error_reply('FLEETDATA the key holds something else than a quota') end

-- text writes numbers in full: the default format keeps 14 digits.
local function text(...)
  local n = {...}
  for i = 1, #n do n[i] = string.format('%.0f', n[i]) end
  return table.concat(n, ' ')
end

local function decode(json, width)
  local ok, t = pcall(cjson.decode, json)
  if ok and type(t) == 'table' and #t == width then return t end
end

local t = redis.call('TIME')
local wall = tonumber(t[1]) * 1e6 + tonumber(t[2])
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''

local got = redis.call('HMGET', key, COMMON, holder)
local q
if got[1] then
  q = decode(got[1], BREADTH)
  if not q or q[FORM] ~= 1 then return corrupt() end
elseif redis.call('EXISTS', key) == 1 then
  return corrupt()
end

local now = wall
if q then
  now = math.max(wall + q[OFFSET], q[LAST])
  if latest > 0 and now > latest then
    -- The claim came later than its client waits for the answer, or the clock was set
    -- forward. The client knows which, if it gets this answer.
    if not correct then return text(LATE, now) end
    now = math.max(q[LAST], latest)
  end
else
  q = {1, run, now + lease, now, 0, 0, 0, 0, 0, 0, 0, 0, lease, NEVER, '', AMPLE, 0, 0, 0, ''}
end
-- A clock that was set forward shows as a step larger than any in which live holders renew.
-- A client without an earlier answer cannot tell it from a pause of all holders.
local doubtful = latest == 0 and now - q[LAST] > q[LONGEST] / 2
q[LAST], q[OFFSET] = now, now - wall
q[LONGEST] = math.max(q[LONGEST], lease)
-- Another process serves the data now: a restart or a fail-over may have lost the last
-- writes. Holders state again what they have.
if run ~= '' then
  if q[RUN] ~= '' and q[RUN] ~= run then q[LEARN] = math.max(q[LEARN], now + q[LONGEST]) end
  q[RUN] = run
end

local before
if got[2] then
  before = decode(got[2], WIDTH)
  if not before then return corrupt() end
  if before[ENDS] <= now then before = nil end
end
if before and (hi < before[HI] or hi == before[HI] and
  (lo < before[LO] or lo == before[LO] and nonce ~= before[NONCE])) then
  return text(STALE)
end

-- scan reads all holders but this one, and notes which are over. It is needed only when
-- something changed that the totals do not show.
local others, names, gone
local function scan()
  local all, texts, found = redis.call('HGETALL', key), {}, {}
  for i = 1, #all, 2 do
    if all[i] ~= COMMON and all[i] ~= holder then
      found[#found + 1], texts[#texts + 1] = all[i], all[i + 1]
    end
  end
  local ok, records = pcall(cjson.decode, '[' .. table.concat(texts, ',') .. ']')
  if not ok or #records ~= #found then return false end
  others, names, gone = {}, {}, {}
  for i, r in ipairs(records) do
    if type(r) ~= 'table' or #r ~= WIDTH then return false end
    if r[ENDS] <= now then
      gone[#gone + 1] = found[i]
    else
      others[#others + 1], names[#names + 1] = r, found[i]
    end
  end
  return true
end

local changed = false -- the targets of others may be different ones now
local leaves = has == 0 and want == 0
local low, high -- limits of the others
if now >= q[NEXT] or q[LOW] ~= q[HIGH] and (leaves or not before or before[LIMIT] ~= limit) then
  if not scan() then return corrupt() end
end
if others then
  q[TOTAL], q[COUNT], q[DEMAND], q[LONGEST] = 0, #others, 0, lease
  for _, r in ipairs(others) do
    q[TOTAL], q[DEMAND] = q[TOTAL] + r[GRANT], q[DEMAND] + r[WANT]
    q[LONGEST] = math.max(q[LONGEST], r[LEASE])
    low, high = math.min(low or NEVER, r[LIMIT]), math.max(high or 0, r[LIMIT])
  end
  changed = #gone > 0
  if changed and doubtful then q[LEARN] = math.max(q[LEARN], now + q[LONGEST]) end
else
  if before then
    q[TOTAL], q[COUNT], q[DEMAND] = q[TOTAL] - before[GRANT], q[COUNT] - 1, q[DEMAND] - before[WANT]
  end
  if q[COUNT] > 0 then low, high = q[LOW], q[HIGH] end
end
local smallest, largest = low or limit, high or limit
if leaves then
  q[LOW], q[HIGH] = low or 0, high or 0
else
  smallest, largest = math.min(smallest, limit), math.max(largest, limit)
  q[LOW], q[HIGH] = smallest, largest
  q[DEMAND] = q[DEMAND] + want
end

-- smaller compares byte by byte: the operator follows the locale of the server.
local function smaller(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- nth returns the n-th smallest of the names. Numbers are sorted quickly: six bytes after
-- what all names have in common. Names that agree there are compared as a whole.
local function nth(list, n)
  local common = list[1]
  for _, s in ipairs(list) do
    while string.sub(s, 1, #common) ~= common do common = string.sub(common, 1, -2) end
  end
  local at, keys, number = #common, {}, {}
  for i, s in ipairs(list) do
    local k = 0
    for j = 1, 6 do k = k * 257 + (string.byte(s, at + j) or -1) + 1 end
    keys[i], number[s] = k, k
  end
  table.sort(keys)
  local k, first = keys[n], n
  while first > 1 and keys[first - 1] == k do first = first - 1 end
  local same = {}
  for _, s in ipairs(list) do
    if number[s] == k then same[#same + 1] = s end
  end
  table.sort(same, smaller)
  return same[n - first + 1]
end

-- fill finds the largest level to which rest raises the shares, each from r.from up to r.to,
-- and the last name that gets one unit more.
local function fill(shares, rest)
  local from, to = {}, {}
  for i, r in ipairs(shares) do from[i], to[i] = r.from, r.to end
  table.sort(from)
  table.sort(to)
  local level, slope, i, j = 0, 0, 1, 1
  while true do
    local stop = math.min(from[i] or NEVER, to[j])
    local gain = slope * (stop - level)
    if gain > rest then break end
    rest, level = rest - gain, stop
    while from[i] == stop do slope, i = slope + 1, i + 1 end
    while to[j] == stop do slope, j = slope - 1, j + 1 end
  end
  local up = math.floor(rest / slope)
  rest, level = rest - up * slope, level + up
  if rest == 0 then return level, '' end
  local odd = {}
  for _, r in ipairs(shares) do
    if r.to > level and r.from <= level then odd[#odd + 1] = r.name end
  end
  return level, nth(odd, rest)
end

-- divide computes the fields of the targets from all holders, this one included.
local function divide()
  local floors = base
  for _, r in ipairs(others) do floors = floors + math.min(r[LEAST], r[WANT]) end
  local rest = smallest
  q[MODE] = floors >= smallest and SCARCE or SHORT
  if q[MODE] == SHORT then rest = smallest - floors end
  local prios, classes = {}, {}
  local function add(name, p, floor, wants)
    local c = classes[p]
    if not c then
      c = {need = 0}
      classes[p], prios[#prios + 1] = c, p
    end
    local share = {name = name, from = 0, to = floor}
    if q[MODE] == SHORT then share.from, share.to = floor, wants end
    c[#c + 1], c.need = share, c.need + share.to - share.from
  end
  add(holder, prio, base, want)
  for i, r in ipairs(others) do add(names[i], r[PRIO], math.min(r[LEAST], r[WANT]), r[WANT]) end
  table.sort(prios, function(a, b) return a > b end)
  q[FOR], q[LEVELED], q[LEVEL], q[CUT] = smallest, -NEVER, 0, ''
  for _, p in ipairs(prios) do
    local c = classes[p]
    if c.need > rest then
      q[LEVELED] = p
      q[LEVEL], q[CUT] = fill(c, rest)
      break
    end
    rest = rest - c.need
  end
end

-- still reports whether the level of the others remains, although this claim may differ
-- from the one before.
local function still()
  if changed or not before or q[FOR] ~= smallest or before[PRIO] ~= prio then return false end
  if before[WANT] == want and before[LEAST] == least then return q[MODE] ~= UNKNOWN end
  if math.min(before[LEAST], before[WANT]) ~= base then return false end
  if q[MODE] == SCARCE then return true end
  return q[MODE] == SHORT and (prio < q[LEVELED] or prio == q[LEVELED] and
    before[WANT] > q[LEVEL] + 1 and want > q[LEVEL] + 1)
end

local target = 0
if q[DEMAND] <= q[LOW] then
  target, q[MODE] = want, AMPLE
elseif leaves then
  q[MODE] = UNKNOWN
else
  if q[MODE] == AMPLE or not still() then
    if not others and not scan() then return corrupt() end
    divide()
  end
  local from, to = 0, base
  if q[MODE] == SHORT then from, to = base, want end
  if prio > q[LEVELED] then
    target = to
  elseif prio < q[LEVELED] then
    target = from
  else
    target = math.max(from, math.min(to, q[LEVEL]))
    if q[CUT] ~= '' and to > q[LEVEL] and from <= q[LEVEL] and not smaller(q[CUT], holder) then
      target = target + 1
    end
  end
end

local learning = now < q[LEARN]
local granted = has
if not learning and not leaves then
  granted = math.max(has, math.min(target, smallest - q[TOTAL]))
end

-- The first end of a lease of the others: exact, or earlier than that if NEXTS is empty. A
-- holder that lacks units and would claim again for it gets the exact one.
local first, whose = q[NEXT], q[NEXTS]
if not others and (whose == '' or whose == holder) and q[COUNT] > 0 then
  whose = ''
  if granted < want and first < now + lease / 3 and not scan() then return corrupt() end
end
if others then
  first, whose = NEVER, ''
  for i, r in ipairs(others) do
    if r[ENDS] < first then first, whose = r[ENDS], names[i] end
  end
elseif q[COUNT] == 0 then
  first, whose = NEVER, ''
end
local wait = first
if learning then wait = math.min(wait, q[LEARN]) end
wait = wait == NEVER and 0 or math.max(wait - now, 1)

q[TOTAL] = q[TOTAL] + granted
q[FENCE] = math.max(q[FENCE] + 1, wall)
if not leaves then
  q[COUNT] = q[COUNT] + 1
  if now + lease < first then first, whose = now + lease, holder end
end
q[NEXT], q[NEXTS] = first, whose
local expire = 0
if q[DIES] < wall + lease + FORGET / 2 then
  expire = lease + FORGET
  q[DIES] = wall + expire
end

local parts = {}
for i = 1, BREADTH do
  parts[i] = type(q[i]) == 'string' and cjson.encode(q[i]) or text(q[i])
end
local common = '[' .. table.concat(parts, ',') .. ']'
if gone then
  for i = 1, #gone, 100 do redis.call('HDEL', key, unpack(gone, i, math.min(i + 99, #gone))) end
end
if leaves then
  redis.call('HSET', key, COMMON, common)
  if got[2] then redis.call('HDEL', key, holder) end
else
  redis.call('HSET', key, COMMON, common, holder, 
    '[' .. string.gsub(text(hi, lo, nonce, granted, want, least, prio, limit, now + lease, lease), ' ', ',') .. ']')
end
if expire > 0 then redis.call('PEXPIRE', key, text(expire / 1000)) end
return text(GRANTED, now, granted, target, smallest, largest, q[TOTAL], q[COUNT], wait, q[FENCE], learning and 1 or 0)
