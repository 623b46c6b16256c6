"""Signed tokens of unsubscribe links; stateless, and without the address itself. Pure.

A token is the shop's id, the hash of the address and an HMAC-SHA256 over both, in base64url. It does not expire: a mail
may be read years later.
"""

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_PURPOSE: Final = b"wishcraft: unsubscribe, 1"
_BODY: Final = struct.Struct("!q32s")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{96}", re.ASCII)


class Subscription(NamedTuple):
    """The subscription that a link ends: a shop's mail to an address."""

    shop_id: int
    address_hash: bytes


def derive_keys(secrets: Sequence[str]) -> list[bytes]:
    """Derive the signing keys of unsubscribe links from the application's secrets."""
    return [hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256) for secret in secrets]


def make_token(subscription: Subscription, key: bytes) -> str:
    """The signed token: 96 characters of `A-Za-z0-9_-`."""
    body = _BODY.pack(*subscription)
    return base64.urlsafe_b64encode(body + hmac.digest(key, body, hashlib.sha256)).decode()


def read_token(token: str, keys: Sequence[bytes]) -> Subscription | None:
    """The subscription if one of the keys signed it, else None; in constant time for any well-formed token."""
    if not _TOKEN.fullmatch(token):
        return None
    content = base64.urlsafe_b64decode(token)
    body, signature = content[: _BODY.size], content[_BODY.size :]
    # All keys are tried, so that the time does not reveal which one matches.
    matches = [hmac.compare_digest(hmac.digest(key, body, hashlib.sha256), signature) for key in keys]
    return Subscription(*_BODY.unpack(body)) if any(matches) else None
