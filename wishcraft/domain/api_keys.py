"""API keys: how they look and how they are kept. Pure: the caller brings the randomness.

A key is `wc_<prefix>_<secret>`, the secret 256 random bits: a plain SHA-256 is safe for it (there is nothing to guess),
and costs a request a microsecond where a password hash would cost it 50 ms.
"""

import hashlib
import re
from typing import Final, NamedTuple

_SHAPE: Final = re.compile(r"wc_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


class NewKey(NamedTuple):
    """A key to be shown once, and the two parts that are stored."""

    key: str
    prefix: str
    digest: bytes


def make_key(random: bytes) -> NewKey:
    """A key from 38 random bytes: 6 for the prefix, 32 for the secret."""
    prefix = random[:6].hex()
    key = f"wc_{prefix}_{random[6:38].hex()}"
    return NewKey(key, prefix, digest(key))


def prefix_of(key: str) -> str | None:
    """The prefix that finds the key's row; None if it is no key of ours."""
    match = _SHAPE.fullmatch(key)
    return match[1] if match else None


def digest(key: str) -> bytes:
    """What is stored of the key: 32 bytes."""
    return hashlib.sha256(key.encode()).digest()
