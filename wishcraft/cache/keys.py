"""Every Redis key of WishCraft and its time to live (TTL). No other module builds a key."""

import random
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from wishcraft.domain.cached_registry import LONGEST_LIFETIME

WRITE_LIMIT_SECONDS: Final = 10
"""The longest duration of a transaction that invalidates; PostgreSQL ends it (`transaction_timeout`)."""
HOLD_SECONDS: Final = 15
"""How long a new era gives no leases: the write limit, and five seconds for a commit that began within it."""

LEASE_TTL_MS: Final = 10_000
FLOOR_TTL_MS: Final = 60_000
"""A floor outlives its writer, and every lease on a load that may have missed that writer's commit:
`FLOOR_TTL_MS > 1000 * HOLD_SECONDS + LEASE_TTL_MS`."""
WRITTEN_TTL_MS: Final = 1_000 * (HOLD_SECONDS + 10)
"""How long a shop counts as written to: its writer has committed by then, and pages from before the commit are gone."""
SPREAD: Final = 0.2
"""The share by which `spread` may shorten a TTL."""

MILLISECOND: Final = timedelta(milliseconds=1)
HARD_TTL_MS: Final = 24 * 3_600_000
"""The least age at which an entry expires, before the spread; until then it replaces PostgreSQL, as stale."""
KEPT_TIMES: Final = 6
"""The age at which an entry expires, in soft lifetimes: three days for the longest."""
ABSENT_TTL_MS: Final = 15_000
"""TTL of a negative entry: this registry does not exist."""
INDEX_TTL_MS: Final = 2 * KEPT_TIMES * LONGEST_LIFETIME // MILLISECOND
"""TTL of a shop's index and sizes, which outlive the entries that they count: a fill renews it once half is left."""
USAGE_TTL_SECONDS: Final = 35 * 86_400

COUNTERS: Final = "wishcraft:counters"
"""A hash: the counters of all processes, summed up."""
COUNTERS_TTL_SECONDS: Final = 35 * 86_400
"""Each flush renews it."""
ONCE_TTL_SECONDS: Final = 86_400
"""How long `Counters.is_first` remembers an event that several processes may notice."""

SIGNAL_TTL_SECONDS: Final = 60
"""How long a signal is kept for a process that waits for it."""

ERA: Final = "wishcraft:era"
WEBHOOKS: Final = "wishcraft:{webhooks}:stream:"
"""The priority follows: a stream with the ids of received webhooks that wait."""
QUEUED: Final = "wishcraft:{webhooks}:queued:"
"""The priority follows: a set, the ids of all webhooks in its stream. With `:shops` a hash, their number by shop."""
WITHOUT_TTL: Final[tuple[str, ...]] = (
    ERA, "wishcraft:{*}:marks", "wishcraft:{*}:written", f"{WEBHOOKS}*", f"{QUEUED}*",
)  # fmt: skip
"""Patterns of the keys without a TTL, which no `volatile-*` policy evicts.
What a shop's floors and its `written` have expires field by field, and Redis deletes a hash with its last field. The
streams have a bounded number of webhooks of each shop."""

KINDS: Final = frozenset({
    "entry", "lease", "marks", "written", "index", "sizes", "usage", "product", "products", "product-sizes", "session",
    "limit", "counters", "once", "bulk", "era", "stream", "queued",
})  # fmt: skip
"""The results of `kind_of`, without `other`. `marks` is the kind of the floors: a label of `wishcraft_redis_keys`."""

SESSIONS: Final = "wishcraft:{*}:session:*"
"""The pattern of all session keys."""
_SESSION: Final = re.compile(r"wishcraft:\{(\d+)\}:session:(.*)", re.DOTALL)


class SessionName(NamedTuple):
    """A session's shop and id."""

    shop_id: int
    session_id: str


def entry_key(shop_id: int, slug: str) -> str:
    """The cache entry of one registry."""
    return f"wishcraft:{{{shop_id}}}:entry:{slug}"


@dataclass(frozen=True, slots=True)
class ShopKeys:
    """The keys of one shop. The braces make them one slot of a Redis cluster."""

    entry_prefix: str
    """The slug follows: a cache entry."""
    lease_prefix: str
    """The slug follows: the token of the reader that may fill the entry."""
    floors: str
    """A hash from slug to the lowest version that may be filled."""
    written: str
    """Exists while a list of the shop's registries from before a write may be in use."""
    index: str
    """A sorted set: the slugs of the shop's entries by view score, the least viewed first."""
    sizes: str
    """A hash from slug to the bytes of its entry, with their sum under the empty slug."""
    usage: str
    """A hash of the shop's counters: reads by result, bytes sent, evictions."""
    variant_prefix: str
    """The variant's id follows: its facts."""
    variant_index: str
    """A sorted set: the ids of the variants with facts, by the time at which these expire (Unix time in ms)."""
    variant_sizes: str
    """A hash from variant id to the bytes of its facts, with their sum under the empty id."""


@lru_cache(maxsize=1024)
def of_shop(shop_id: int) -> ShopKeys:
    """The keys of a shop."""
    shop = f"wishcraft:{{{shop_id}}}"
    return ShopKeys(
        entry_prefix=f"{shop}:entry:",
        lease_prefix=f"{shop}:lease:",
        floors=f"{shop}:marks",
        written=f"{shop}:written",
        index=f"{shop}:index",
        sizes=f"{shop}:sizes",
        usage=f"{shop}:usage",
        variant_prefix=f"{shop}:product:",
        variant_index=f"{shop}:products",
        variant_sizes=f"{shop}:product-sizes",
    )


def customer_pattern(shop_id: int, customer_id: int) -> str:
    """The pattern of the keys that name a customer: the counters of their requests."""
    return f"wishcraft:limit:*:customer:{shop_id}:{customer_id}"


def shop_patterns(shop_id: int) -> list[str]:
    """The patterns of the keys of a shop."""
    callers = [f"wishcraft:limit:*:{kind}:{shop_id}:*" for kind in ("customer", "guest", "admin")]
    return [f"wishcraft:{{{shop_id}}}:*", *callers]


def limit_key(policy: str, window: int, caller: str) -> str:
    """The caller's requests in the window that begins at `window` (Unix time); the caller's name includes the shop."""
    return f"wishcraft:limit:{policy}:{window}:{caller}"


def session_key(name: SessionName) -> str:
    """The key of a session: the slug that it opens. It expires with the session."""
    return f"wishcraft:{{{name.shop_id}}}:session:{name.session_id}"


def session_name(key: bytes) -> SessionName | None:
    """The session of a key, as Redis returns it; None if `session_key` did not build it."""
    match = _SESSION.fullmatch(key.decode())
    return SessionName(int(match[1]), match[2]) if match else None


def bulk_key(operation_id: str) -> str:
    """A list with an element for each signal that Shopify's bulk operation with this global id has ended."""
    return f"wishcraft:bulk:{operation_id}"


def once_key(event: str) -> str:
    """Exists once the event was counted."""
    return f"wishcraft:once:{event}"


def kind_of(key: bytes) -> str:
    """The kind of a key, as Redis returns it: one of `KINDS`, or `other` for a foreign key."""
    first, _, rest = key.removeprefix(b"wishcraft:").partition(b":")
    kind = rest.partition(b":")[0] if first.startswith(b"{") else first
    name = kind.decode(errors="replace")
    return name if key.startswith(b"wishcraft:") and name in KINDS else "other"


def spread(ttl_ms: int) -> int:
    """`ttl_ms` shortened by a random part of up to a fifth, so that entries filled together do not expire together."""
    return ttl_ms - int(ttl_ms * SPREAD * random.random())  # noqa: S311  no secret
