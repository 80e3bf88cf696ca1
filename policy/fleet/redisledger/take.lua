-- Takes tokens of one bucket. KEYS[1] is a string: the process that wrote it, when, and the
-- tokens that were left then. Instants and durations are in microseconds.
local tokens, per = tonumber(ARGV[1]), tonumber(ARGV[2])
local burst, want = tonumber(ARGV[3]), tonumber(ARGV[4])

local FORGET, YEAR = 86400e6, 365 * 86400e6

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1e6 + tonumber(t[2])
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''

-- A bucket that the engine does not know, or that another process wrote, may have been lost
-- or may lack the last writes: it is empty.
local left = 0
local text = redis.call('GET', KEYS[1])
if text then
  local wrote, at, had = string.match(text, '^1 (%w*) (%d+) ([%d.e+-]+)$')
  at, had = tonumber(at), tonumber(had)
  if not at or not had then return redis.error_reply('FLEETDATA the key holds something else than a bucket') end
  if wrote == run or wrote == '' or run == '' then
    left = math.min(burst, had + math.max(0, now - at) * tokens / per)
  end
end
local granted = math.min(want, math.floor(left))
left = left - granted
local wait = 0
if granted < want then wait = math.ceil((1 - left) * per / tokens) + 1 end
local keep = math.min(YEAR, burst * per / tokens + FORGET)
redis.call('SET', KEYS[1], string.format('1 %s %.0f %.17g', run, now, left), 'PX', string.format('%.0f', keep / 1000))
return string.format('%.0f %.0f', granted, wait)
