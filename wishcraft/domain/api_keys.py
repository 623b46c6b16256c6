"""Format, digest and rights of API keys. Pure: the caller passes the random bytes.

A key is `wc_<prefix>_<secret><checksum>` with a secret of 256 random bits. That is too many to guess, so a plain
SHA-256 is safe; it takes 1 µs for each request, a password hash 50 ms. The checksum is the CRC-32 of what precedes it:
a key that was mistyped, cut off or made up is recognized without a query.
"""

import hashlib
import re
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from wishcraft.domain.callers import Scope
from wishcraft.domain.networks import contains, parse_networks

MAX_NAME: Final = 120
"""The most characters of a key's name."""
MAX_DAYS: Final = 3_650
"""The longest lifetime of a key that has one."""
MAX_GRACE_HOURS: Final = 24 * 30
"""The longest time for which a rotated key stays valid."""
KEY_BEGINS: Final = "wc_"
_SHAPE: Final = re.compile(rf"{KEY_BEGINS}([0-9a-f]{{12}})_[0-9a-f]{{72}}", re.ASCII)
_CHECKSUM: Final = slice(-8, None)


class NewKey(NamedTuple):
    """A new key, which is shown once, with its stored prefix and digest."""

    key: str
    prefix: str
    digest: bytes


class Rights(NamedTuple):
    """Rights of a key."""

    scopes: Sequence[str]
    ip_allow_list: Sequence[str]
    """Empty: all addresses."""
    expires_at: datetime | None


def find_excess(new: Rights, granting: Rights) -> str | None:
    """The right of a new key that the key which creates it lacks, as a sentence; None without one."""
    held = {Scope(scope) for scope in granting.scopes}
    if Scope.WRITE in held:
        held.add(Scope.READ)
    if missing := sorted({Scope(scope) for scope in new.scopes} - held):
        return f"A key gives another one at most its own scopes, and this one has not: {', '.join(missing)}."
    if granting.ip_allow_list and not contains(
        parse_networks(",".join(granting.ip_allow_list)), parse_networks(",".join(new.ip_allow_list))
    ):
        return "A key that is limited to addresses gives another one at most these addresses in ip_allow_list."
    if granting.expires_at and (new.expires_at is None or new.expires_at > granting.expires_at):
        return "A key that expires gives another one at most its own lifetime: set days."
    return None


def make_key(random: bytes) -> NewKey:
    """Make a key from 38 random bytes: 6 for the prefix, 32 for the secret."""
    prefix = random[:6].hex()
    key = f"{KEY_BEGINS}{prefix}_{random[6:38].hex()}"
    key += _checksum(key)
    return NewKey(key, prefix, digest(key))


def prefix_of(key: str) -> str | None:
    """The key's prefix, or None if it does not have the format of a key, or a wrong checksum."""
    match = _SHAPE.fullmatch(key)
    return match[1] if match and key[_CHECKSUM] == _checksum(key[: _CHECKSUM.start]) else None


def digest(key: str) -> bytes:
    """The stored SHA-256 of the key: 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
