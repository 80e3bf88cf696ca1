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

-- A holder is eleven numbers of four bytes: Seq (two), nonce, granted, want, minimum,
-- priority, limit, lease (ms), and the end of the lease (two). Reading them is most of the work
-- of a scan: as JSON it took three times as long.
local FORMAT, REST = '>I4I4I4I4I4I4I4I4I4I4I4', '>I4I4I4I4I4I4I4I4'
local WIDTH, TWO32, ZERO = 44, 4294967296, 2147483648 -- ZERO: priority 0

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

-- pack and unpackFrom use the library struct, which every Redis has; miniredis has not. The
-- name of a global that does not exist is an error.
local known, library = pcall(function() return struct end)
if not known then library = nil end

local function pack(...)
  if library then return library.pack(FORMAT, ...) end
  local bytes = {}
  for i, n in ipairs({...}) do
    bytes[i] = string.char(math.floor(n / 16777216), math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
  end
  return table.concat(bytes)
end

local function unpackFrom(record, at, format)
  if library then return library.unpack(format, record, at) end
  local n = {}
  for i = at, #record, 4 do
    local a, b, c, d = string.byte(record, i, i + 3)
    n[#n + 1] = a * 16777216 + b * 65536 + c * 256 + d
  end
  return unpack(n)
end

local before -- the last claim of this holder: what it was granted, wanted, ...
if got[2] then
  if #got[2] ~= WIDTH then return corrupt() end
  local oldHi, oldLo, oldNonce, granted, wanted, floor, priority, stated, ms, endsHi, endsLo = unpackFrom(got[2], 1, FORMAT)
  if endsHi * TWO32 + endsLo > now then
    if hi < oldHi or hi == oldHi and (lo < oldLo or lo == oldLo and nonce ~= oldNonce) then return text(STALE) end
    before = {granted = granted, want = wanted, least = floor, prio = priority - ZERO, limit = stated}
  end
end

-- scan reads all holders but this one. It is needed only when something changed that the
-- totals do not show.
local others -- names, wants, leasts, prios; over: the names of those whose lease has ended
local function scan()
  local all = redis.call('HGETALL', key)
  local o = {names = {}, wants = {}, leasts = {}, prios = {}, over = {}, total = 0, demand = 0, longest = 0, first = NEVER, whose = ''}
  local names, wants, leasts, prios, n = o.names, o.wants, o.leasts, o.prios, 0
  for i = 1, #all, 2 do
    local name, record = all[i], all[i + 1]
    if name ~= COMMON and name ~= holder then
      if #record ~= WIDTH then return false end
      local granted, wanted, floor, priority, stated, ms, endsHi, endsLo = unpackFrom(record, 13, REST)
      local ends = endsHi * TWO32 + endsLo
      if ends <= now then
        o.over[#o.over + 1] = name
      else
        n = n + 1
        names[n], wants[n], leasts[n], prios[n] = name, wanted, floor, priority - ZERO
        o.total, o.demand = o.total + granted, o.demand + wanted
        if ms > o.longest then o.longest = ms end
        if not o.low or stated < o.low then o.low = stated end
        if not o.high or stated > o.high then o.high = stated end
        if ends < o.first then o.first, o.whose = ends, name end
      end
    end
  end
  others = o
  return true
end

local changed = false -- the targets of others may be different ones now
local leaves = has == 0 and want == 0
local low, high -- limits of the others
if now >= q[NEXT] or q[LOW] ~= q[HIGH] and (leaves or not before or before.limit ~= limit) then
  if not scan() then return corrupt() end
end
if others then
  q[TOTAL], q[COUNT], q[DEMAND] = others.total, #others.names, others.demand
  q[LONGEST] = math.max(lease, others.longest * 1000)
  low, high = others.low, others.high
  changed = #others.over > 0
  if changed and doubtful then q[LEARN] = math.max(q[LEARN], now + q[LONGEST]) end
else
  if before then
    q[TOTAL], q[COUNT], q[DEMAND] = q[TOTAL] - before.granted, q[COUNT] - 1, q[DEMAND] - before.want
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

-- fill finds the largest level to which rest raises the shares of one priority, each from its
-- from up to its to, and the last name that gets one unit more.
local function fill(c, rest)
  local from, to = {}, {}
  for i = 1, #c.from do from[i], to[i] = c.from[i], c.to[i] end
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
  for i, name in ipairs(c.names) do
    if c.to[i] > level and c.from[i] <= level then odd[#odd + 1] = name end
  end
  return level, nth(odd, rest)
end

-- divide computes the fields of the targets from all holders, this one included.
local function divide()
  local names, wants, leasts, prios = others.names, others.wants, others.leasts, others.prios
  local n = #names + 1
  names[n], wants[n], leasts[n], prios[n] = holder, want, least, prio
  local floors, rest = 0, smallest
  for i = 1, n do
    if leasts[i] > wants[i] then leasts[i] = wants[i] end
    floors = floors + leasts[i]
  end
  local short = floors < smallest
  if short then rest = smallest - floors end
  q[MODE] = short and SHORT or SCARCE
  local order, classes = {}, {}
  for i = 1, n do
    local c = classes[prios[i]]
    if not c then
      c = {need = 0, from = {}, to = {}, names = {}}
      classes[prios[i]], order[#order + 1] = c, prios[i]
    end
    local from, to = 0, leasts[i]
    if short then from, to = leasts[i], wants[i] end
    local k = #c.names + 1
    c.names[k], c.from[k], c.to[k], c.need = names[i], from, to, c.need + to - from
  end
  table.sort(order, function(a, b) return a > b end)
  q[FOR], q[LEVELED], q[LEVEL], q[CUT] = smallest, -NEVER, 0, ''
  for _, p in ipairs(order) do
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
  if changed or not before or q[FOR] ~= smallest or before.prio ~= prio then return false end
  if before.want == want and before.least == least then return q[MODE] ~= UNKNOWN end
  if math.min(before.least, before.want) ~= base then return false end
  if q[MODE] == SCARCE then return true end
  return q[MODE] == SHORT and (prio < q[LEVELED] or prio == q[LEVELED] and
    before.want > q[LEVEL] + 1 and want > q[LEVEL] + 1)
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
  first, whose = others.first, others.whose
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
if others then
  for i = 1, #others.over, 100 do
    redis.call('HDEL', key, unpack(others.over, i, math.min(i + 99, #others.over)))
  end
end
if leaves then
  redis.call('HSET', key, COMMON, common)
  if got[2] then redis.call('HDEL', key, holder) end
else
  local ends = now + lease
  redis.call('HSET', key, COMMON, common, holder, pack(hi, lo, nonce, granted, want, least, prio + ZERO, limit,
    math.ceil(lease / 1000), math.floor(ends / TWO32), ends % TWO32))
end
if expire > 0 then redis.call('PEXPIRE', key, text(expire / 1000)) end
return text(GRANTED, now, granted, target, smallest, largest, q[TOTAL], q[COUNT], wait, q[FENCE], learning and 1 or 0)
