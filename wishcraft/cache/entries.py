"""What lies under an entry's key: a small binary header, then the answer's bytes. Pure."""

import struct
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.domain.etags import make_etag

_FORMAT: Final = 2
_LAYOUT: Final = struct.Struct(">B8sQ8sQBQ")  # the FILL script reads the first three
HEADER_SIZE: Final = _LAYOUT.size
_ACCESS_LEVELS: Final = {
    int(access_level): access_level for access_level in AccessLevel
}  # a look-up costs a fifth of a call of the enumeration


class Header(NamedTuple):
    """What must be known of an answer before its bytes are handed out."""

    era: bytes
    """The era of the Redis server in which it was filled (8 bytes); in any other it is not valid."""
    version: int
    digest: str
    """Of the body, 16 hexadecimal digits."""
    soft_expiry_ms: int
    """Unix time from which the entry wants a refresh."""
    access_level: AccessLevel
    owner: int
    """The owning customer's Shopify id, 0 if there is none."""

    @property
    def etag(self) -> str:
        """The entity tag, with its quotes."""
        return make_etag(self.version, self.digest)

    @property
    def soft_expiry(self) -> datetime:
        """`soft_expiry_ms` as aware UTC."""
        return datetime.fromtimestamp(self.soft_expiry_ms / 1000, UTC)


class Entry(NamedTuple):
    """An answer with its header."""

    header: Header
    body: bytes


def compose(document: CachedRegistry, era: bytes, soft_expiry_ms: int) -> Entry:
    """The entry of a document filled in `era`, to be refreshed from `soft_expiry_ms` (Unix time) on."""
    digest = blake2b(document.body, digest_size=8).hexdigest()
    return Entry(
        Header(era, document.version, digest, soft_expiry_ms, document.access_level, document.owner), document.body
    )


def absent(era: bytes, soft_expiry_ms: int) -> Entry:
    """The entry that says that there is no such registry. A version 0 is under every mark."""
    return Entry(Header(era, 0, "0" * 16, soft_expiry_ms, AccessLevel.ABSENT, 0), b"")


def pack(entry: Entry) -> bytes:
    """The bytes to store."""
    era, version, digest, soft_expiry_ms, access_level, owner = entry.header
    return _LAYOUT.pack(_FORMAT, era, version, bytes.fromhex(digest), soft_expiry_ms, access_level, owner) + entry.body


def unpack_header(raw: bytes) -> Header | None:
    """The header at the start of `raw`, or None if it is not in this format: a miss, such as right after an upgrade."""
    if len(raw) < HEADER_SIZE or raw[0] != _FORMAT:
        return None
    _, era, version, digest, soft_expiry_ms, access_level, owner = _LAYOUT.unpack_from(raw)
    return Header(era, version, digest.hex(), soft_expiry_ms, _ACCESS_LEVELS[access_level], owner)


def unpack(raw: bytes) -> Entry | None:
    """The stored entry, or None if it is not in this format."""
    header = unpack_header(raw)
    return header and Entry(header, raw[HEADER_SIZE:])
