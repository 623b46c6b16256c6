"""Facts about a shop that Shopify provides; what a merchant sets: `wishcraft/store/schema/shop_settings.py`. Pure."""

import re
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wishcraft.domain.mail_text import one_line
from wishcraft.domain.storable_text import storable

SHOP_DOMAIN: Final = r"[a-z0-9][a-z0-9-]{0,99}\.myshopify\.com"
"""A pattern of Shopify's domains of shops."""
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


def usable_facts(name: object, email: object, currency: object, timezone: object) -> tuple[dict[str, str], list[str]]:
    """The valid facts, by their names in `ShopFacts`, and the faults of the others.

    The problems name what it is, and have no value.
    """
    facts, problems = dict[str, str](), list[str]()
    if isinstance(name, str) and (clean := one_line(storable(name))[:_MAX_NAME].strip()):
        facts["name"] = clean
    else:
        problems.append("the name is not text")
    if isinstance(email, str) and len(email) <= _MAX_EMAIL:
        facts["email"] = storable(email).strip()
    else:
        problems.append("the e-mail address is not text, or too long")
    if isinstance(currency, str) and _CURRENCY.fullmatch(currency):
        facts["currency"] = currency
    else:
        problems.append("the currency is not a code of ISO 4217")
    if isinstance(timezone, str) and _is_zone(timezone):
        facts["timezone"] = timezone
    else:
        problems.append("the time zone is not one of this machine's time zone database")
    return facts, problems


def shop_facts(name: object, email: object, currency: object, timezone: object) -> ShopFacts:
    """The facts, if all four can be used.

    Raises:
        ValueError: One cannot; the message names it, and has no value.
    """
    facts, problems = usable_facts(name, email, currency, timezone)
    if problems:
        raise ValueError(problems[0])
    return ShopFacts(**facts)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it is a folder of the database
        return False
    return True
