"""Signed tokens of unsubscribe links; stateless, and without the address itself. Pure.

A token is the shop's id, the hash of the address, an HMAC-SHA256 over the rest, and the masked address, in base64url.
Tokens from before version 1.6.0 have no masked address. A token does not expire: a mail may be read years later.
"""

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

PURPOSE: Final = b"wishcraft: unsubscribe, 1"
"""Of the keys."""
_BODY: Final = struct.Struct("!q32s")
_SIGNED: Final = _BODY.size + hashlib.sha256().digest_size
_MAX_MASKED: Final = 60
"""Bytes; a longer one is left out."""
_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_-]{4}){24,44}", re.ASCII)


class Subscription(NamedTuple):
    """The subscription that a link ends: a shop's mail to an address."""

    shop_id: int
    address_hash: bytes
    masked: str = ""
    """The address as `domain.addresses.mask` shows it; empty if it is not known."""


def make_token(subscription: Subscription, key: bytes) -> str:
    """The signed token: 96 to 176 characters of `A-Za-z0-9_-`."""
    body = _BODY.pack(subscription.shop_id, subscription.address_hash)
    masked = subscription.masked.encode()
    masked = masked.ljust(-(-len(masked) // 3) * 3) if len(masked) <= _MAX_MASKED else b""  # base64 without padding
    return base64.urlsafe_b64encode(body + hmac.digest(key, body + masked, hashlib.sha256) + masked).decode()


def read_token(token: str, keys: Sequence[bytes]) -> Subscription | None:
    """The subscription if one of the keys signed it, else None; in constant time for any well-formed token."""
    if not _TOKEN.fullmatch(token):
        return None
    content = base64.urlsafe_b64decode(token)
    body, signature, masked = content[: _BODY.size], content[_BODY.size : _SIGNED], content[_SIGNED:]
    # All keys are tried, so that the time does not reveal which one matches.
    matches = [hmac.compare_digest(hmac.digest(key, body + masked, hashlib.sha256), signature) for key in keys]
    if not any(matches):
        return None
    shop_id, address_hash = _BODY.unpack(body)
    return Subscription(shop_id, address_hash, masked.decode().rstrip())
