"""Invitations to confirm an e-mail address: the link's token, its lifetime, and how many mails may go out. Pure."""

import base64
import hashlib
import hmac
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from operator import itemgetter
from typing import Final, NamedTuple

LIFETIME: Final = timedelta(days=14)
"""How long a link works: after its mail was sent, and until then after the first try to send it."""
TRIES: Final = 3
"""How often a mail is sent at most if each time it may have arrived, but the server did not answer."""
TRIED_FOR: Final = timedelta(days=4)
"""How long after the first try a mail is given up that the server puts off: RFC 5321, section 4.5.4.1."""
LIMITS_COVER: Final = timedelta(days=1)
"""The time in which `Limits` are counted, up to now."""
_PURPOSE: Final = b"wishcraft: invitation, 1"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{48}", re.ASCII)
_CHECKSUM_BYTES: Final = 4


class InvitationAnswer(StrEnum):
    """Answer of the owner of an address; it is final."""

    CONFIRMED = "confirmed"
    DECLINED = "declined"


class InvitationStatus(StrEnum):
    """Whether a person named in a registry gets its reminders, as its registrant sees it."""

    INVITED = "invited"
    """Not yet: the mail waits to be sent or to be answered, or it failed, or the address is suppressed."""
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    EXPIRED = "expired"
    """No: the invitation was not answered in time."""


class Addressee(NamedTuple):
    """The two sides of an invitation: the registry's customer (None if redacted), and `mailbox_hash` of the address.

    The limits compare addresses and need none: invitations of deleted registries, which count too, have none left.
    """

    customer: int | None
    mailbox: bytes


class Limits(NamedTuple):
    """The most invitation mails in a day: of a shop, of each customer, and to each address."""

    shop: int
    customer: int
    address: int


def make_token(invitation_id: int, key: bytes) -> str:
    """The token of an invitation's link: 48 characters of `A-Za-z0-9_-`, the same for the same key.

    So a mail that is sent again has the same link, although only the token's hash is stored.
    """
    secret = hmac.digest(key, invitation_id.to_bytes(8, "big"), hashlib.sha256)
    return base64.urlsafe_b64encode(secret + _checksum(secret)).decode()


def derive_key(secret: str) -> bytes:
    """Derive the key of `make_token` from a secret of the application."""
    return hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)


def hash_token(token: str) -> bytes:
    """SHA-256 of a token, by which its invitation is found."""
    return hashlib.sha256(token.encode()).digest()


def is_token(token: str) -> bool:
    """Whether this has the form and the checksum of a token, so that a mistyped one costs no query."""
    if not _TOKEN.fullmatch(token):
        return False
    content = base64.urlsafe_b64decode(token)
    secret, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    return hmac.compare_digest(checksum, _checksum(secret))


def within_limits(waiting: Sequence[tuple[int, Addressee]], recent: Iterable[Addressee], limits: Limits) -> list[int]:
    """The ids of those waiting invitations that may be sent now.

    Customers take turns, those with the fewest mails first, so that none can use up the shop's or an address's limit.

    Args:
        waiting: Ids and addressees, each customer's to be preferred first.
        recent: The addressees of the shop's invitations that were sent in the last `LIMITS_COVER`.
        limits: Of the shop.
    """
    customers, mailboxes, total = Counter[int | None](), Counter[bytes](), 0
    for customer, mailbox in recent:
        customers[customer] += 1
        mailboxes[mailbox] += 1
        total += 1
    turns, in_turns = customers.copy(), list[tuple[int, int, Addressee]]()
    for invitation_id, addressee in waiting:
        in_turns.append((turns[addressee.customer], invitation_id, addressee))
        turns[addressee.customer] += 1
    chosen = []
    for _, invitation_id, addressee in sorted(in_turns, key=itemgetter(0)):
        if (
            total < limits.shop
            and customers[addressee.customer] < limits.customer
            and mailboxes[addressee.mailbox] < limits.address
        ):
            chosen.append(invitation_id)
            customers[addressee.customer] += 1
            mailboxes[addressee.mailbox] += 1
            total += 1
    return chosen


def _checksum(secret: bytes) -> bytes:
    return zlib.crc32(secret).to_bytes(_CHECKSUM_BYTES, "big")
