"""The Lua scripts that Redis runs atomically, each with its reason, and their replies. Each handles one entry."""

from enum import StrEnum
from typing import Final

from wishcraft.cache.lua import Script


class FillOutcome(StrEnum):
    """The result of an attempt to fill one entry."""

    FILLED = "filled"
    LEASE_GONE = "lease_gone"
    """The lease expired, or a writer invalidated the registry after the lease was taken."""
    UNDER_FLOOR = "under_floor"
    """The loaded version is below the floor: the load missed a commit that has happened or is about to."""
    NEWER_THERE = "newer_there"
    CHANGED = "changed"
    """Redis has another entry than the one that the reader has seen, or has one at all: it is to be read first."""
    LEASED = "held"
    """Another reader holds the lease and fills the entry."""
    ON_HOLD = "on_hold"
    """The server's era is too young to give leases: see `ERA` and `keys.HOLD_SECONDS`."""
    OVER_QUOTA = "over_quota"
    """The shop is at its quota, and all its other entries are viewed more often."""
    OTHER_ERA = "other_era"
    """The facts were read for another era than the server's."""
    NOT_FOUND = "not_found"
    """The registry does not exist; a negative entry was filled."""


CHANGED: Final = b"changed"
LEASED: Final = b"held"
ON_HOLD: Final = b"on_hold"
OTHER_ERA: Final = b"other_era"
ANYTHING: Final = b"anything"
"""For `LEASE`: any entry, or none."""
IS_QUIET: Final = b"quiet"

# The milliseconds since the era began. If the server's clock was set back behind that, the era counts from now: a hold
# would last until the clock is there again, and it may be hours behind after the start of a machine.
_AGE: Final = """
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local age = now - (since or now)
    if age < 0 then
        redis.call('HSET', era, 'since', now)
        age = 0
    end
"""
_AGE_OF_KNOWN_ERA: Final = (
    """
    local current = redis.call('HMGET', era, 'era', 'since')
    if current[1] ~= known_era then
        return 'other_era'
    end
    local since = current[2]
"""
    + _AGE
)

# A restart from a snapshot restores old entries and loses new floors; so does a failover to a replica that lags, and a
# failover back. A server therefore has an era. It ends when the process that serves the data is not the process that
# began it, or when the data is flushed. The first client that connects afterwards begins the next one.
ERA: Final = Script(
    name="era",
    keys=("era",),
    args=("new_era",),
    allow_oom=True,
    body="""
    local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    local known = redis.call('HMGET', era, 'server', 'era', 'since')
    local since = known[3]
"""
    + _AGE
    + """
    if known[1] == server then
        return {known[2], age}
    end
    redis.call('HSET', era, 'server', server, 'era', new_era, 'since', now)
    return {new_era, 0}
""",
)

# A writer runs it before its commit: from then on nothing older than the version to come can be filled. The lease goes
# too: its holder has probably loaded the old row, and the next reader need not wait for a fill that will be refused.
# A later writer's floor lasts its full time even if its version is not the higher one. The script may exceed the memory
# limit: it frees more than it takes, and a full Redis must not stop writes. Lists of the shop that were read before the
# commit are not to be used after it; that is a field with a TTL, as a key with one could be evicted.
INVALIDATE: Final = Script(
    name="invalidate",
    keys=("entry", "lease", "floors", "written"),
    args=("slug", "version", "ttl_ms", "written_ttl_ms"),
    allow_oom=True,
    body="""
    local floor = math.max(tonumber(redis.call('HGET', floors, slug) or 0), tonumber(version))
    redis.call('HSET', floors, slug, floor)
    redis.call('HPEXPIRE', floors, ttl_ms, 'FIELDS', 1, slug)
    redis.call('DEL', entry, lease)
    redis.call('HSET', written, 'at', '')
    redis.call('HPEXPIRE', written, written_ttl_ms, 'FIELDS', 1, 'at')
    return 'marked'
""",
)

# A restart, a flush or a failover loses what was written lately; so a young era knows nothing of it.
QUIET: Final = Script(
    name="is_quiet",
    keys=("written", "era"),
    args=("known_era", "hold_ms"),
    allow_oom=True,
    body=_AGE_OF_KNOWN_ERA
    + """
    if age < tonumber(hold_ms) or redis.call('HEXISTS', written, 'at') == 1 then
        return 'written'
    end
    return 'quiet'
""",
)

# After the commit of a deletion. No floor has to stay: a lease that is taken from now on is for a load that sees the
# commit, and those that were taken before are gone.
FORGET: Final = Script(
    name="forget",
    keys=("entry", "lease", "floors", "index", "sizes"),
    args=("slug",),
    allow_oom=True,
    body="""
    redis.call('DEL', entry, lease)
    redis.call('HDEL', floors, slug)
    redis.call('ZREM', index, slug)
    local size = redis.call('HGET', sizes, slug)
    if size then
        redis.call('HINCRBY', sizes, '', -size)
        redis.call('HDEL', sizes, slug)
    end
    return 'forgotten'
""",
)

# One database load per miss: none if the entry was filled after the reader has `seen` it, the start of a value, empty
# for none. A young era gives no leases: a writer whose floor was lost with the older era may be about to commit.
LEASE: Final = Script(
    name="take_lease",
    keys=("entry", "lease", "era"),
    args=("token", "ttl_ms", "known_era", "hold_ms", "seen"),
    body=_AGE_OF_KNOWN_ERA
    + """
    if age < tonumber(hold_ms) then
        return 'on_hold'
    end
    if seen ~= 'anything' and redis.call('GETRANGE', entry, 0, math.max(#seen - 1, 0)) ~= seen then
        return 'changed'
    end
    if redis.call('SET', lease, token, 'NX', 'PX', ttl_ms) then
        return 'granted'
    end
    return 'held'
""",
)

# Evicts one of the shop's facts of variants, which guests do not wait for, the soonest to expire first; if there are
# none, its least viewed entry, whose slug it returns, and counts it. Uses the variables of the script around it. Sizes
# whose list Redis has evicted are forgotten first: they would evict for what is not there.
_EVICT: Final = """
    local entries, variants = redis.call('ZCARD', index), redis.call('ZCARD', variant_index)
    for list, sizes_of in pairs({[index] = sizes, [variant_index] = variant_sizes}) do
        if redis.call('EXISTS', list) == 0 then
            redis.call('DEL', sizes_of)
        end
    end
    local bytes = tonumber(redis.call('HGET', sizes, '') or 0)
    local variant_bytes = tonumber(redis.call('HGET', variant_sizes, '') or 0)
    max_entries, max_bytes = tonumber(max_entries), tonumber(max_bytes)
    local function take_size(hash, name)
        local size = redis.call('HGET', hash, name)
        if not size then
            return 0
        end
        redis.call('HDEL', hash, name)
        redis.call('HINCRBY', hash, '', -tonumber(size))
        return tonumber(size)
    end
    local function evict(own_slug)
        if variants > 0 then
            local soonest = redis.call('ZPOPMIN', variant_index)[1]
            variants, variant_bytes = variants - 1, variant_bytes - take_size(variant_sizes, soonest)
            redis.call('DEL', variant_prefix .. soonest)
            return
        end
        local least = redis.call('ZPOPMIN', index)[1]
        entries, bytes = entries - 1, bytes - take_size(sizes, least)
        if redis.call('DEL', entry_prefix .. least) == 1 and least ~= own_slug then
            redis.call('HINCRBY', usage, 'evictions', 1)
            redis.call('EXPIRE', usage, usage_ttl_seconds)
        end
        return least
    end
"""

# The floor refuses a load from before a commit; the lease refuses one so slow that the floor has expired meanwhile.
# An entry begins with nine bytes of format and era, then eight of version; an entry of another era counts as missing.
# The index and the sizes count a shop's entries and outlive them, as no entry lives longer than half of their TTL; an
# entry that expired or was evicted stays counted until the shop needs its place. A new entry starts with one view of
# now. Over its quota, the shop loses its own facts and entries. With a quota of -1 nothing is counted: that is a
# negative entry.
FILL: Final = Script(
    name="fill",
    keys=("entry", "lease", "floors", "index", "sizes", "usage", "variant_index", "variant_sizes"),
    args=(
        "token",
        "slug",
        "packed",
        "ttl_ms",
        "one_view",
        "max_entries",
        "max_bytes",
        "entry_prefix",
        "variant_prefix",
        "index_ttl_ms",
        "usage_ttl_seconds",
    ),
    body="""
    if redis.call('GET', lease) ~= token then
        return 'lease_gone'
    end
    redis.call('DEL', lease)
    local version = struct.unpack('>I8', packed, 10)
    if version < tonumber(redis.call('HGET', floors, slug) or 0) then
        return 'under_floor'
    end
    local present = redis.call('GETRANGE', entry, 0, 16)
    if string.sub(present, 1, 9) == string.sub(packed, 1, 9) and struct.unpack('>I8', present, 10) > version then
        return 'newer_there'
    end
    redis.call('SET', entry, packed, 'PX', ttl_ms)
    if tonumber(max_entries) < 0 then
        return 'filled'
    end
    if redis.call('ZADD', index, 'NX', one_view, slug) == 1 and redis.call('ZCARD', index) == 1 then
        redis.call('DEL', sizes)
    end
    local size = #packed
    redis.call('HINCRBY', sizes, '', size - tonumber(redis.call('HGET', sizes, slug) or 0))
    redis.call('HSET', sizes, slug, size)
    for _, key in ipairs({index, sizes}) do  -- two writes less for most fills
        if redis.call('PTTL', key) < index_ttl_ms / 2 then
            redis.call('PEXPIRE', key, index_ttl_ms)
        end
    end
    local outcome = 'filled'
"""
    + _EVICT
    + """
    while entries + variants > 0 and (entries + variants > max_entries or bytes + variant_bytes > max_bytes) do
        if evict(slug) == slug then
            outcome = 'over_quota'
        end
    end
    return outcome
""",
)

# After a lower quota, in steps: `FILL` would evict all that is too much at once, while Redis answers no other command.
TRIM: Final = Script(
    name="trim",
    keys=("index", "sizes", "usage", "variant_index", "variant_sizes"),
    args=("max_entries", "max_bytes", "entry_prefix", "variant_prefix", "usage_ttl_seconds", "most"),
    allow_oom=True,
    body=_EVICT
    + """
    local evicted, most = 0, tonumber(most)
    while evicted < most and entries + variants > 0
            and (entries + variants > max_entries or bytes + variant_bytes > max_bytes) do
        evict()
        evicted = evicted + 1
    end
    return evicted
""",
)

# After a failed load the holder releases its lease, unless it has expired and another reader holds it.
RELEASE: Final = Script(
    name="release",
    keys=("lease",),
    args=("token",),
    body="""
    if redis.call('GET', lease) == token then
        redis.call('DEL', lease)
    end
    return 'released'
""",
)

# The start of an entry is enough to know whether it is current.
HEADER: Final = Script(
    name="read_header",
    keys=("entry",),
    args=("last_byte",),
    body="""
    return redis.call('GETRANGE', entry, 0, last_byte)
""",
)

# Views raise the score of registries that have an entry; the index lists nothing else.
VIEW: Final = Script(
    name="count_views",
    keys=("index",),
    args=("slug", "score"),
    body="""
    if redis.call('ZSCORE', index, slug) then
        redis.call('ZINCRBY', index, score, slug)
    end
    return 'viewed'
""",
)

# A script for many shops: redis-py's pipeline takes ten times as long, and all requests wait for it.
ADD_READS: Final = Script(
    name="add_reads",
    keys=("usage",),
    args=("hits", "stale", "misses", "bypassed", "bytes_sent", "ttl_seconds"),
    body="""
    local counts = {hits = hits, stale = stale, misses = misses, bypassed = bypassed, bytes_sent = bytes_sent}
    for name, by in pairs(counts) do
        if by ~= '0' then
            redis.call('HINCRBY', usage, name, by)
        end
    end
    redis.call('EXPIRE', usage, ttl_seconds)
    return 'added'
""",
)

# The first count of a window lets it end with the window. To read one leaves no key: names can be made up.
ADD_REQUESTS: Final = Script(
    name="add_requests",
    keys=("counter",),
    args=("sent", "ttl_seconds"),
    body="""
    if sent == '0' then
        return redis.call('GET', counter) or 0
    end
    local total = redis.call('INCRBY', counter, sent)
    if total == tonumber(sent) then
        redis.call('EXPIRE', counter, ttl_seconds)
    end
    return total
""",
)

# A webhook is in its stream once, however often it is enqueued: by its request, by a sweep, by two of them at once.
# Redis numbers the entries, as inserts of different processes may commit in another order than their ids.
