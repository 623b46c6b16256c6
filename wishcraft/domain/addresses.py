"""E-mail addresses: when two are the same, and how one is remembered without being kept. Pure."""

import hashlib
import re
from typing import Final

_LONGEST: Final = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
_SHAPE: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]{1,64}@[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+")


def normalise(address: str) -> str | None:
    """The one spelling of an address, or None if it is none that mail can go to.

    Spaces around it and capitals tell no two mailboxes apart in practice, though RFC 5321 would let the latter.
    """
    spelling = address.strip().lower()
    return spelling if len(spelling) <= _LONGEST and _SHAPE.fullmatch(spelling) else None


def address_hash(shop_id: int, address: str) -> bytes:
    """The 32 bytes by which a shop remembers a normalised address; no other shop remembers it by the same.

    The store computes the same in SQL, as `sha256(convert_to(shop_id || ':' || recipient, 'UTF8'))`.
    """
    return hashlib.sha256(f"{shop_id}:{address}".encode()).digest()
