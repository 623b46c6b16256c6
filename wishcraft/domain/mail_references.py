"""The signed reference that names a mail: it goes out with the mail and comes back with each event about it. Pure.

It travels as the return path of SMTP, a tag of SES or a custom argument of SendGrid: an event is never matched by an
address.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

NAME: Final = "wishcraft"
"""Of the tag and of the custom argument."""
PURPOSE: Final = b"wishcraft: mail reference, 1"
"""Of the keys."""
_MAC_BYTES: Final = 10
_TOKEN: Final = re.compile(r"([ri])-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([a-z2-7]{16})", re.ASCII)


class MailKind(StrEnum):
    """The kind of a mail, which says in which table its row is, by its letter in a token."""

    REMINDER = "r"
    INVITATION = "i"


class MailReference(NamedTuple):
    """The row of a mail."""

    kind: MailKind
    shop_id: int
    row_id: int


def make_token(reference: MailReference, key: bytes) -> str:
    """The signed token: at most 53 characters of `a-z0-9-`, so that it fits in the local part of an address."""
    body = f"{reference.kind.value}-{reference.shop_id:x}-{reference.row_id:x}"
    return f"{body}-{_mac(body, key)}"


def read_token(token: str, keys: Sequence[bytes]) -> MailReference | None:
    """The reference if one of the keys signed it, else None. Case does not matter: mail servers may change it."""
    found = _TOKEN.fullmatch(token.lower())
    if found is None:
        return None
    kind, shop_id, row_id, mac = found.groups()
    body = f"{kind}-{shop_id}-{row_id}"
    matches = [hmac.compare_digest(_mac(body, key), mac) for key in keys]  # all are tried, for a constant time
    if not any(matches):
        return None
    return MailReference(MailKind(kind), int(shop_id, 16), int(row_id, 16))


def _mac(body: str, key: bytes) -> str:
    return base64.b32encode(hmac.digest(key, body.encode(), hashlib.sha256)[:_MAC_BYTES]).decode().lower()
