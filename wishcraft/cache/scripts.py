"""The Lua scripts that Redis runs atomically, each with its reason, and their replies.

Each script handles one entry. `Script.batch_source` runs it for a list of entries in one command.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from redis.typing import EncodableT

Call = Mapping[str, EncodableT]
"""The keys and arguments for one entry, by the names that the script declares."""


@dataclass(frozen=True)
class Script:
    """A Lua script whose body uses its keys and arguments as local variables of the declared names.

    `allow_oom` lets it run while Redis is over its memory limit.
    """

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    body: str
    allow_oom: bool = False

    @cached_property
    def source(self) -> str:
        """The script for one entry."""
        return f"{self._shebang}{self._function}return {self.name}({self._values()})\n"

    @cached_property
    def batch_source(self) -> str:
        """The script for any number of entries: called with their number, then the `values`; returns a list of replies.

        One command for many entries costs a tenth of a command for each.
        """
        values = self._values("first_key + ", "first_arg + ")
        return (
            f"{self._shebang}{self._function}"
            "local replies = {}\n"
            "for number = 1, ARGV[1] do\n"
            f"    local first_key, first_arg = (number - 1) * {len(self.keys)}, (number - 1) * {len(self.args)} + 1\n"
            f"    replies[number] = {self.name}({values})\n"
            "end\n"
            "return replies\n"
        )

    def values(self, calls: Sequence[Call]) -> tuple[list[str], list[EncodableT]]:
        """The keys and the arguments of these calls, each in the declared order.

        Raises:
            KeyError: A call has no value for a declared name.
            TypeError: A call has a value for another name.
        """
        if any(len(call) > len(self.keys) + len(self.args) for call in calls):
            raise TypeError(f"{self.name} takes {', '.join(self.keys + self.args)}")
        return [str(call[key]) for call in calls for key in self.keys], [
            call[arg] for call in calls for arg in self.args
        ]

    @property
    def _shebang(self) -> str:
        return "#!lua flags=allow-oom\n" if self.allow_oom else ""

    @property
    def _function(self) -> str:
        return f"local function {self.name}({', '.join(self.keys + self.args)})\n{self.body.strip()}\nend\n"

    def _values(self, key_offset: str = "", arg_offset: str = "") -> str:
        keys = [f"KEYS[{key_offset}{number}]" for number in range(1, len(self.keys) + 1)]
        args = [f"ARGV[{arg_offset}{number}]" for number in range(1, len(self.args) + 1)]
        return ", ".join(keys + args)


class Outcome(StrEnum):
    """The result of an attempt to fill one entry."""

    FILLED = "filled"
    LEASE_GONE = "lease_gone"
    """The lease expired, or a writer invalidated the registry after the lease was taken."""
    UNDER_FLOOR = "under_floor"
    """The loaded version is below the floor: the load missed a commit that has happened or is about to."""
    NEWER_THERE = "newer_there"
    LEASED = "held"
    """Another reader holds the lease and fills the entry."""
    ON_HOLD = "on_hold"
    """The server's era is too young to give leases: see `ERA` and `keys.HOLD_SECONDS`."""
    OVER_QUOTA = "over_quota"
    """The shop is at its quota, and all its other entries are viewed more often."""
    NOT_FOUND = "not_found"
    """The registry does not exist; a negative entry was filled."""


LEASED: Final = b"held"
ON_HOLD: Final = b"on_hold"
OTHER_ERA: Final = b"other_era"

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
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local known = redis.call('HMGET', era, 'server', 'era', 'since')
    if known[1] == server then
        return {known[2], now - known[3]}
    end
    redis.call('HSET', era, 'server', server, 'era', new_era, 'since', now)
    return {new_era, 0}
""",
)

# A writer runs it before its commit: from then on nothing older than the version to come can be filled. The lease goes
# too: its holder has probably loaded the old row, and the next reader need not wait for a fill that will be refused.
# A later writer's floor lasts its full time even if its version is not the higher one. The script may exceed the memory
# limit: it frees more than it takes, and a full Redis must not stop writes.
INVALIDATE: Final = Script(
    name="invalidate",
    keys=("entry", "lease", "floors"),
    args=("slug", "version", "ttl_ms"),
    allow_oom=True,
    body="""
    local floor = math.max(tonumber(redis.call('HGET', floors, slug) or 0), tonumber(version))
    redis.call('HSET', floors, slug, floor)
    redis.call('HPEXPIRE', floors, ttl_ms, 'FIELDS', 1, slug)
    redis.call('DEL', entry, lease)
    return 'marked'
""",
)

# One database load per miss. A young era gives no leases: a writer whose floor was lost with the older era may be about
# to commit.
LEASE: Final = Script(
    name="take_lease",
    keys=("lease", "era"),
    args=("token", "ttl_ms", "known_era", "hold_ms"),
    body="""
    local current = redis.call('HMGET', era, 'era', 'since')
    if current[1] ~= known_era then
        return 'other_era'
    end
    local time = redis.call('TIME')
    if time[1] * 1000 + math.floor(time[2] / 1000) - current[2] < tonumber(hold_ms) then
        return 'on_hold'
    end
    if redis.call('SET', lease, token, 'NX', 'PX', ttl_ms) then
        return 'granted'
    end
    return 'held'
""",
)

# The floor refuses a load from before a commit; the lease refuses one so slow that the floor has expired meanwhile.
# An entry begins with nine bytes of format and era, then eight of version; an entry of another era counts as missing.
# The index and the sizes count a shop's entries and outlive them; an entry that expired or was evicted stays counted
# until the shop needs its place. A new entry starts with one view of now. Over its quota, the shop loses its own
# entries, the least viewed first. With a quota of -1 nothing is counted: that is a negative entry.
FILL: Final = Script(
    name="fill",
    keys=("entry", "lease", "floors", "index", "sizes", "usage"),
    args=(
        "token",
        "slug",
        "packed",
        "ttl_ms",
        "one_view",
        "max_entries",
        "max_bytes",
        "entry_prefix",
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
    max_entries, max_bytes = tonumber(max_entries), tonumber(max_bytes)
    if max_entries < 0 then
        return 'filled'
    end
    if redis.call('ZADD', index, 'NX', one_view, slug) == 1 and redis.call('ZCARD', index) == 1 then
        redis.call('DEL', sizes)
    end
    local size = #packed
    local bytes = redis.call('HINCRBY', sizes, '', size - tonumber(redis.call('HGET', sizes, slug) or 0))
    redis.call('HSET', sizes, slug, size)
    redis.call('PEXPIRE', index, index_ttl_ms)
    redis.call('PEXPIRE', sizes, index_ttl_ms)
    local outcome = 'filled'
    local entries = redis.call('ZCARD', index)
    while entries > 0 and (entries > max_entries or bytes > max_bytes) do
        local least = redis.call('ZPOPMIN', index)[1]
        bytes = redis.call('HINCRBY', sizes, '', -tonumber(redis.call('HGET', sizes, least) or 0))
        redis.call('HDEL', sizes, least)
        redis.call('DEL', entry_prefix .. least)
        entries = entries - 1
        if least == slug then
            outcome = 'over_quota'
        else
            redis.call('HINCRBY', usage, 'evictions', 1)
            redis.call('EXPIRE', usage, usage_ttl_seconds)
        end
    end
    return outcome
""",
)

# After a lower quota, in steps: `FILL` would evict all that is too much at once, while Redis answers no other command.
TRIM: Final = Script(
    name="trim",
    keys=("index", "sizes", "usage"),
    args=("max_entries", "max_bytes", "entry_prefix", "index_ttl_ms", "usage_ttl_seconds", "most"),
    body="""
    local entries = redis.call('ZCARD', index)
    local bytes = tonumber(redis.call('HGET', sizes, '') or 0)
    local evicted, most = 0, tonumber(most)
    max_entries, max_bytes = tonumber(max_entries), tonumber(max_bytes)
    while entries > 0 and evicted < most and (entries > max_entries or bytes > max_bytes) do
        local least = redis.call('ZPOPMIN', index)[1]
        bytes = redis.call('HINCRBY', sizes, '', -tonumber(redis.call('HGET', sizes, least) or 0))
        redis.call('HDEL', sizes, least)
        redis.call('DEL', entry_prefix .. least)
        entries, evicted = entries - 1, evicted + 1
    end
    if evicted > 0 then
        redis.call('PEXPIRE', sizes, index_ttl_ms)
        redis.call('HINCRBY', usage, 'evictions', evicted)
        redis.call('EXPIRE', usage, usage_ttl_seconds)
    end
    return evicted
""",
    allow_oom=True,
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
