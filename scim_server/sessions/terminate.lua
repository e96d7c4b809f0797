-- Brings one subject's gate and sessions in line with one delivery. Redis >= 6.2, not Redis Cluster.
-- KEYS     as named, in this order, by order.names: gate, guard, index, ended (each optional)
-- ARGV[1]  order as JSON: names, value (the gate's text), epoch, denied (0|1), ttl (ms), ending (whether sessions
--          end), fixed (the keys need no session id), keys (each: the texts around the session id), kept (how long
--          the ids of ended sessions are kept in ended, ms)
-- Returns  {stale (0|1), session records ended, the guard's sign of life or false}

local order = cjson.decode(ARGV[1])
local key = {}
for position, name in ipairs(order.names) do
  key[name] = KEYS[position]
end

-- The gate goes first: a login that does not see it has put its session into the index that is read below.
local stale = false
if key.gate then
  local epoch, denied = string.match(redis.call('GET', key.gate) or '', '^(%d+):([01]):%d+$')
  epoch = tonumber(epoch)
  if not epoch or order.epoch > epoch or (order.epoch == epoch and denied == '1' and order.denied == 0) then
    if order.denied == 1 then
      redis.call('SET', key.gate, order.value)
    else
      redis.call('SET', key.gate, order.value, 'PX', string.format('%d', order.ttl))
    end
  else
    -- Late, and the subject was let in again since: what it has now are newer sessions.
    stale = denied == '0' and (epoch > order.epoch or order.denied == 1)
  end
end

-- Spring's default serializer writes a session id as a Java string, its JSON serializer in quotes.
local function session_id(member)
  if string.sub(member, 1, 5) == '\172\237\0\5t' then
    return string.sub(member, 8)
  end
  return string.match(member, '^"(.*)"$') or member
end

local function members_of(index)
  local kind = redis.call('TYPE', index).ok
  if kind == 'set' then
    return redis.call('SMEMBERS', index)
  elseif kind == 'zset' then
    return redis.call('ZRANGE', index, 0, -1)
  elseif kind == 'none' then
    return {}
  end
  return redis.error_reply('WRONGTYPE index_key names a ' .. kind .. ', not a SET or ZSET')
end

local ended = 0
if order.ending and not stale then
  local members = order.fixed and { '' } or members_of(key.index)
  if members.err then
    return members
  end
  local indexed = #members
  -- A request under way writes the record of its session back, and no index names it any more.
  for _, member in ipairs(key.ended and redis.call('SMEMBERS', key.ended) or {}) do
    members[#members + 1] = member
  end
  for first = 1, #members, 1000 do
    for rank, pieces in ipairs(order.keys) do
      local records = {}
      for position = first, math.min(first + 999, #members) do
        records[#records + 1] = table.concat(pieces, session_id(members[position]))
      end
      local gone = redis.call('UNLINK', unpack(records))
      ended = ended + (rank == 1 and gone or 0)
    end
  end
  if key.index and indexed > 0 then
    redis.call('UNLINK', key.index)
  end
  if key.ended and indexed > 0 then
    for first = 1, indexed, 1000 do
      redis.call('SADD', key.ended, unpack(members, first, math.min(first + 999, indexed)))
    end
    redis.call('PEXPIRE', key.ended, string.format('%d', order.kept))
  end
end

return { stale and 1 or 0, ended, key.guard and redis.call('GET', key.guard) }
