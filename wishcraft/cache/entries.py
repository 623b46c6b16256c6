"""The format of a cache entry: a small binary header, then the bytes of the answer. No I/O."""

import struct
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, NamedTuple

from wishcraft.cache import keys
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry

_FORMAT: Final = 4
_LAYOUT: Final = struct.Struct(">B8sQ8sQBQ")  # the FILL script reads format, era and version
HEADER_SIZE: Final = _LAYOUT.size
# A look-up costs a fifth of a call of the enumeration.
_ACCESS_LEVELS: Final = {int(access_level): access_level for access_level in AccessLevel}


@dataclass(slots=True)  # each read looks at four fields, and those of a named tuple take five times as long
class Header:
    """Header of an entry: what the API checks before it sends the body."""

    era: bytes
    """The era in which the entry was filled (8 bytes). In any other era the entry counts as missing."""
    version: int
    digest: str
    """BLAKE2b of the body, 16 hexadecimal digits."""
    soft_expiry_ms: int
    """Unix time in milliseconds from which the entry is stale."""
    access_level: AccessLevel
    owner: int
    """The owning customer's Shopify id, 0 if there is none."""


class Entry(NamedTuple):
    """Header and body, the JSON of the answer."""

    header: Header
    body: bytes


def make_entry(registry: CachedRegistry | None, era: bytes, now_ms: int) -> Entry:
    """The entry of a registry, filled in `era` and stale about its soft lifetime after `now_ms`.

    None gives the negative entry: the registry does not exist. Its version 0 is below every floor.
    """
    if registry is None:
        return Entry(Header(era, 0, "0" * 16, now_ms + keys.ABSENT_TTL_MS, AccessLevel.ABSENT, 0), b"")
    soft_expiry_ms = now_ms + keys.spread(registry.soft_lifetime // keys.MILLISECOND)
    digest = blake2b(registry.body, digest_size=8).hexdigest()
    header = Header(era, registry.version, digest, soft_expiry_ms, registry.access_level, registry.owner)
    return Entry(header, registry.body)


def with_body(entry: Entry, body: bytes, version: int) -> Entry:
    """The entry with another body, for an answer that Redis does not hold, at this version of the registry."""
    digest = blake2b(body, digest_size=8).hexdigest()
    return Entry(replace(entry.header, version=version, digest=digest), body)


def pack(entry: Entry) -> bytes:
    """The bytes to store."""
    header = entry.header
    packed = _LAYOUT.pack(
        _FORMAT,
        header.era,
        header.version,
        bytes.fromhex(header.digest),
        header.soft_expiry_ms,
        header.access_level,
        header.owner,
    )
    return packed + entry.body


def unpack_header(raw: bytes) -> Header | None:
    """The header at the start of `raw`, or None if another release wrote what this one cannot read: a miss."""
    if len(raw) < HEADER_SIZE or raw[0] != _FORMAT:
        return None
    _, era, version, digest, soft_expiry_ms, number, owner = _LAYOUT.unpack_from(raw)
    access_level = _ACCESS_LEVELS.get(number)
    if access_level is None:
        return None
    return Header(era, version, digest.hex(), soft_expiry_ms, access_level, owner)


def unpack(raw: bytes) -> Entry | None:
    """The stored entry, or None if the format is another, or the body of a registry is lost."""
    header = unpack_header(raw)
    if header is None or (len(raw) == HEADER_SIZE and header.access_level is not AccessLevel.ABSENT):
        return None
    return Entry(header, raw[HEADER_SIZE:])
