"""Format and digest of API keys. Pure: the caller passes the random bytes.

A key is `wc_<prefix>_<secret>` with a secret of 256 random bits. That is too many to guess, so a plain SHA-256 is safe;
it takes 1 µs for each request, a password hash 50 ms.
"""

import hashlib
import re
from typing import Final, NamedTuple

_SHAPE: Final = re.compile(r"wc_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


class NewKey(NamedTuple):
    """A new key, which is shown once, with its stored prefix and digest."""

    key: str
    prefix: str
    digest: bytes


def make_key(random: bytes) -> NewKey:
    """Make a key from 38 random bytes: 6 for the prefix, 32 for the secret."""
    prefix = random[:6].hex()
    key = f"wc_{prefix}_{random[6:38].hex()}"
    return NewKey(key, prefix, digest(key))


def prefix_of(key: str) -> str | None:
    """The key's prefix, or None if it does not have the format of a key."""
    match = _SHAPE.fullmatch(key)
    return match[1] if match else None


def digest(key: str) -> bytes:
    """The stored SHA-256 of the key: 32 bytes."""
    return hashlib.sha256(key.encode()).digest()
