"""Normalization and hashing of e-mail addresses. Pure."""

import hashlib
import re
from typing import Final

_MAX_LENGTH: Final = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
_SHAPE: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]{1,64}@[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+")


def normalise(address: str) -> str | None:
    """The address in lower case without surrounding spaces, or None if it is not a valid mailbox.

    RFC 5321 lets a server distinguish capitals in the local part; in practice none does.
    """
    normalised = address.strip().lower()
    return normalised if len(normalised) <= _MAX_LENGTH and _SHAPE.fullmatch(normalised) else None


def address_hash(shop_id: int, address: str) -> bytes:
    """SHA-256 of a normalised address, salted with the shop's id, so that shops cannot compare hashes.

    The store computes the same in SQL: `sha256(convert_to(shop_id || ':' || recipient, 'UTF8'))`.
    """
    return hashlib.sha256(f"{shop_id}:{address}".encode()).digest()
