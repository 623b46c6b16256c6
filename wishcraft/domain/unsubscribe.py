"""The tokens in unsubscribe links: they prove who was written to, name nobody, and need no table. Pure.

A token is the shop's id, the hash of the address, and an HMAC-SHA256 over both, in the URL's own alphabet. It does not
expire: a mail may be read years later.
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
    """What a link ends: a shop's mail to an address."""

    shop_id: int
    address_hash: bytes


def derive_keys(secrets: Sequence[str]) -> list[bytes]:
    """The signing keys that belong to the application's secrets: good for unsubscribe links and nothing else."""
    return [hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256) for secret in secrets]


def make_token(subscription: Subscription, key: bytes) -> str:
    """The token, 96 characters of `A-Za-z0-9_-`."""
    body = _BODY.pack(*subscription)
    return base64.urlsafe_b64encode(body + hmac.digest(key, body, hashlib.sha256)).decode()


def read_token(token: str, keys: Sequence[bytes]) -> Subscription | None:
    """The subscription that one of the keys signed; None if none did. Takes the same time whatever is wrong."""
    if not _TOKEN.fullmatch(token):
        return None
    content = base64.urlsafe_b64decode(token)
    body, signature = content[: _BODY.size], content[_BODY.size :]
    # Each key is tried, and none is stopped at, so that the time says nothing of which one fits.
    fits = [hmac.compare_digest(hmac.digest(key, body, hashlib.sha256), signature) for key in keys]
    return Subscription(*_BODY.unpack(body)) if any(fits) else None
