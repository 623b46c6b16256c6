"""The steps that Redis must take as one, in Lua, each with its reason; and what they answer.

Each is written for one entry; `many` makes the script that takes it for a list of entries.
"""

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What became of a wish to fill an entry."""

    FILLED = "filled"
    LEASE_GONE = "lease_gone"
    """The lease expired, or a writer marked the registry since it was taken."""
    UNDER_FLOOR = "under_floor"
    """The document is older than a mark: its load missed a commit that has happened or is about to."""
    NEWER_THERE = "newer_there"
    HELD = "held"
    """Another reader has the lease and will fill."""
    ON_HOLD = "on_hold"
    """The server's era is too young: see ERA."""
    OVER_QUOTA = "over_quota"
    """The shop keeps entries that are viewed more, and has no room for this one."""
    NOT_FOUND = "not_found"
    """There is no such registry."""


HELD: Final = b"held"
ON_HOLD: Final = b"on_hold"
OTHER_ERA: Final = b"other_era"

# A restart from a snapshot brings old entries back and loses new marks; so does a failover to a replica that lags,
# and back. A server therefore has an era, which ends when the process that serves the data is not the one that
# began it, or when the data is flushed. Whoever connects first begins the new one.
ERA: Final = """#!lua flags=allow-oom
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local era = redis.call('HMGET', KEYS[1], 'server', 'era', 'since')
if era[1] == server then
    return {era[2], now - era[3]}
end
redis.call('HSET', KEYS[1], 'server', server, 'era', ARGV[1], 'since', now)
return {ARGV[1], 0}
"""

# A writer's promise, before it commits, that no one fills what it is about to outdate. The lease goes too: its holder
# has probably loaded already, and the next reader need not wait for a fill that will be refused. A later writer's mark
# lasts its full time even if its version is not the higher. It may pass the memory limit: it frees more than it takes,
# and a full Redis must not stop writes.
MARK: Final = """
local floor = math.max(tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0), tonumber(ARGV[2]))
redis.call('HSET', KEYS[3], ARGV[1], floor)
redis.call('HPEXPIRE', KEYS[3], ARGV[3], 'FIELDS', 1, ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2])
return 'marked'
"""

# One database load per miss. In a young era none: a writer may be about to commit whose mark an older era has lost.
LEASE: Final = """
local era = redis.call('HMGET', KEYS[2], 'era', 'since')
if era[1] ~= ARGV[3] then
    return 'other_era'
end
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) - era[2] < tonumber(ARGV[4]) then
    return 'on_hold'
end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return 'granted'
end
return 'held'
"""

# The floor refuses a load that was made before a commit; the lease one so slow that the mark has expired since.
# The header's first nine bytes are format and era, the next eight the version; an entry of another era counts as none.
# A shop's entries are counted in its index and its sizes, which no entry outlives; an entry that expired or was evicted
# stays counted until the shop needs its place. A new one counts as viewed once, now. Over its quota the shop gives up
# its own entries, the least viewed first. Without a quota (-1) nothing is counted: it is a note that nothing is there.
FILL: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 'lease_gone'
end
redis.call('DEL', KEYS[2])
local version = struct.unpack('>I8', ARGV[3], 10)
if version < tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or 0) then
    return 'under_floor'
end
local there = redis.call('GETRANGE', KEYS[1], 0, 16)
if string.sub(there, 1, 9) == string.sub(ARGV[3], 1, 9) and struct.unpack('>I8', there, 10) > version then
    return 'newer_there'
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
local most, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
if most < 0 then
    return 'filled'
end
if redis.call('ZADD', KEYS[4], 'NX', ARGV[5], ARGV[2]) == 1 and redis.call('ZCARD', KEYS[4]) == 1 then
    redis.call('DEL', KEYS[5])
end
local size = #ARGV[3]
local bytes = redis.call('HINCRBY', KEYS[5], '', size - tonumber(redis.call('HGET', KEYS[5], ARGV[2]) or 0))
redis.call('HSET', KEYS[5], ARGV[2], size)
redis.call('PEXPIRE', KEYS[4], ARGV[9])
redis.call('PEXPIRE', KEYS[5], ARGV[9])
local outcome = 'filled'
local entries = redis.call('ZCARD', KEYS[4])
while entries > 0 and (entries > most or bytes > most_bytes) do
    local least = redis.call('ZPOPMIN', KEYS[4])[1]
    bytes = redis.call('HINCRBY', KEYS[5], '', -tonumber(redis.call('HGET', KEYS[5], least) or 0))
    redis.call('HDEL', KEYS[5], least)
    redis.call('DEL', ARGV[8] .. least)
    entries = entries - 1
    if least == ARGV[2] then
        outcome = 'over_quota'
    else
        redis.call('HINCRBY', KEYS[6], 'evictions', 1)
        redis.call('EXPIRE', KEYS[6], ARGV[10])
    end
end
return outcome
"""

# A load that failed gives its lease back, unless it has become another's.
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 'released'
"""

# The part of an entry that says whether it is current.
HEADER: Final = """
return redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
"""

# Views raise the score of what has an entry, and of nothing else: the index lists entries alone.
VIEW: Final = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    redis.call('ZINCRBY', KEYS[1], ARGV[2], ARGV[1])
end
return 'viewed'
"""

_MANY: Final = """
local function step(KEYS, ARGV)
{step}
end
local replies = {{}}
local keys, arguments = #KEYS / ARGV[1], (#ARGV - 1) / ARGV[1]
for i = 1, ARGV[1] do
    replies[i] = step(
        {{unpack(KEYS, (i - 1) * keys + 1, i * keys)}},
        {{unpack(ARGV, (i - 1) * arguments + 2, i * arguments + 1)}}
    )
end
return replies
"""


def many(step: str, flags: str = "") -> str:
    """The script that takes `step` for each entry in turn and returns the replies.

    Its first argument is the number of entries; then come each entry's keys and arguments, equally many for all.
    One call for many entries costs a tenth of a call for each.
    """
    return (f"#!lua flags={flags}" if flags else "") + _MANY.format(step=step)
