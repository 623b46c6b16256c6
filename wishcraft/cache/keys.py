"""Every key of the cache and how long what it holds may live. No key is built elsewhere."""

import re
from typing import Final, NamedTuple

WRITE_LIMIT_SECONDS: Final = 10
"""The longest a transaction that marks may last, from its begin; PostgreSQL ends it (`transaction_timeout`)."""
HOLD_SECONDS: Final = 15
"""How long a new era takes no fills: the write limit, and five seconds for a commit that had begun within it."""

LEASE_TTL_MS: Final = 10_000
MARK_TTL_MS: Final = 60_000
"""A mark outlives its writer, and every lease on a load that may have missed that writer's commit:
`MARK_TTL_MS > 1000 * HOLD_SECONDS + LEASE_TTL_MS`."""
SOFT_TTL_MS: Final = 3_600_000
"""An entry older than this is still given out, while one reader refreshes it."""
HARD_TTL_MS: Final = 24 * 3_600_000
"""An entry older than this is gone; until then it outlasts an outage of PostgreSQL."""
SPREAD: Final = 0.2

ABSENT_TTL_MS: Final = 15_000
"""How long it is remembered that a registry does not exist."""
INDEX_TTL_MS: Final = 2 * HARD_TTL_MS
"""Each fill begins it anew, so what a shop's entries are counted by outlives them."""
USAGE_TTL_SECONDS: Final = 35 * 86_400

COUNTERS: Final = "wishcraft:counters"
"""A hash of what all processes count together."""
COUNTERS_TTL_SECONDS: Final = 35 * 86_400
"""Each write begins it anew: it is gone when nobody has counted for so long."""
ONCE_TTL_SECONDS: Final = 86_400
"""How long it is remembered that something was counted that several processes may notice."""

ERA: Final = "wishcraft:era"
WITHOUT_TTL: Final[tuple[str, ...]] = (ERA, "wishcraft:{*}:marks")
"""Patterns of the keys that never expire as a whole, so that no `volatile-*` policy evicts them.
The fields of a shop's marks expire one by one, and the hash goes with its last field."""

KINDS: Final = frozenset(
    {"entry", "lease", "marks", "index", "sizes", "usage", "session", "limit", "counters", "once", "era"}
)  # fmt: skip
"""What a key is of, as `kind_of` tells it; `other` is none of ours."""

SESSIONS: Final = "wishcraft:{*}:session:*"
"""The pattern of all sessions' keys."""
_SESSION: Final = re.compile(r"wishcraft:\{(\d+)\}:session:(.*)", re.DOTALL)


class SessionName(NamedTuple):
    """Whose session it is, and its id."""

    shop_id: int
    session_id: str


def entry_key(shop_id: int, slug: str) -> str:
    """Where the answer of one registry lies."""
    return f"wishcraft:{{{shop_id}}}:entry:{slug}"


def lease_key(shop_id: int, slug: str) -> str:
    """Held by the one reader who may fill the entry."""
    return f"wishcraft:{{{shop_id}}}:lease:{slug}"


def marks_key(shop_id: int) -> str:
    """A hash from slug to the lowest version that may be filled."""
    return f"wishcraft:{{{shop_id}}}:marks"


def entry_prefix(shop_id: int) -> str:
    """What the keys of all the shop's entries begin with; the slug follows."""
    return entry_key(shop_id, "")


def index_key(shop_id: int) -> str:
    """A sorted set of the slugs that the shop has entries for, the least viewed first."""
    return f"wishcraft:{{{shop_id}}}:index"


def sizes_key(shop_id: int) -> str:
    """A hash from slug to the bytes of its entry; their sum is under the empty slug."""
    return f"wishcraft:{{{shop_id}}}:sizes"


def usage_key(shop_id: int) -> str:
    """A hash of the shop's counters: how often and how much it read, and what it had to give up."""
    return f"wishcraft:{{{shop_id}}}:usage"


def limit_key(policy: str, window: int, caller: str) -> str:
    """How often the caller asked in the window with this number; callers are of one shop, and name it."""
    return f"wishcraft:limit:{policy}:{window}:{caller}"


def session_key(name: SessionName) -> str:
    """What the session grants; it expires with the session."""
    return f"wishcraft:{{{name.shop_id}}}:session:{name.session_id}"


def session_name(key: bytes) -> SessionName | None:
    """Which session lies under this key, as Redis gives it; None if `session_key` did not make it."""
    match = _SESSION.fullmatch(key.decode())
    return SessionName(int(match[1]), match[2]) if match else None


def once_key(what: str) -> str:
    """There once this was counted."""
    return f"wishcraft:once:{what}"


def kind_of(key: bytes) -> str:
    """Which of `KINDS` this key is, as Redis gives it, or `other`."""
    whose, _, rest = key.removeprefix(b"wishcraft:").partition(b":")
    kind = rest.partition(b":")[0] if whose.startswith(b"{") else whose
    name = kind.decode(errors="replace")
    return name if key.startswith(b"wishcraft:") and name in KINDS else "other"


def spread(ttl_ms: int, fraction: float) -> int:
    """`ttl_ms` shortened by up to a fifth, so that what was filled together does not expire together.

    Args:
        ttl_ms: The longest that may come out, in milliseconds.
        fraction: Where in the range, from 0 (the full time) to 1; a random number from the caller.
    """
    return ttl_ms - int(ttl_ms * SPREAD * fraction)
