"""What the app knows of a shop from Shopify. Pure."""

import re
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wishcraft.domain.plain_text import one_line

_CURRENCY: Final = re.compile("[A-Z]{3}")
_MAX_NAME: Final = 200
_MAX_EMAIL: Final = 320


class ShopFacts(NamedTuple):
    """A shop as Shopify describes it."""

    name: str
    email: str
    """Of its owner."""
    currency: str
    """ISO 4217."""
    timezone: str
    """IANA."""


def shop_facts(name: object, email: object, currency: object, timezone: object) -> ShopFacts:
    """The facts, if all four can be used.

    Raises:
        ValueError: One cannot; the message names it, and has no value.
    """
    if not (isinstance(name, str) and (clean := one_line(_storable(name))[:_MAX_NAME].strip())):
        raise ValueError("the name is no text")
    if not (isinstance(email, str) and len(email) <= _MAX_EMAIL):
        raise ValueError("the e-mail address is no text, or too long")
    if not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        raise ValueError("the currency is no code of ISO 4217")
    if not (isinstance(timezone, str) and _is_zone(timezone)):
        raise ValueError("the time zone is not one of this machine's time zone database")
    return ShopFacts(clean, _storable(email).strip(), currency, timezone)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it is a folder of the database
        return False
    return True


def _storable(text: str) -> str:
    return text.replace("\0", "").encode(errors="ignore").decode()
