"""Values in Shopify's answers and payloads, checked: TypeError, ValueError or InvalidOperation for what is unusable."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from wishcraft.domain.currencies import MAX_AMOUNT
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.storable_text import storable
from wishcraft.errors import PayloadInvalid

SOLD: Final = frozenset({"ACTIVE", "UNLISTED"})
"""Statuses of products. Guests buy an unlisted product by its link, which a registry has."""
_NO_OPTIONS: Final = "Default Title"
"""Shopify's title for the only variant of a product without options."""


def read_text(value: object) -> str:
    """A text, without what PostgreSQL does not store."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return storable(value)


def read_variant_title(value: object) -> str:
    """The title of a variant; empty if its product has no options."""
    title = read_text(value)
    return "" if title == _NO_OPTIONS else title


def read_flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def read_integer(value: object) -> int:
    """An integer that its column can hold."""
    if type(value) is not int or abs(value) > LARGEST_ID:
        raise ValueError(f"{value!r} is not an integer of 64 bits")
    return value


def read_id(value: object) -> int:
    """The number of a global id."""
    number = read_integer(value)
    if number < 1:
        raise ValueError(f"{value!r} is not an id")
    return number


def payload_id(value: object, field: str) -> int:
    """The id in this field of a webhook's payload.

    Raises:
        PayloadInvalid: It is none.
    """
    try:
        return read_id(value)
    except ValueError:
        raise PayloadInvalid(f"{field} is not an id.") from None


def read_amount(value: object) -> Decimal:
    """An amount of money that its column can hold."""
    amount = Decimal(read_text(value))
    if not (amount.is_finite() and 0 <= amount <= MAX_AMOUNT):
        raise ValueError(f"the amount {value} is out of range")
    return amount


def read_former_price(value: object, price: Decimal) -> Decimal | None:
    """The price before a reduction to `price`; None without one.

    Shopify keeps what a merchant has typed or imported, also 0 or the same price, and themes show what is higher.
    """
    former = read_amount(value) if value else None
    return former if former is not None and former > price else None


def read_time(value: object) -> datetime:
    """An ISO 8601 time with its offset, in UTC."""
    if not isinstance(value, str) or not (time := datetime.fromisoformat(value)).tzinfo:
        raise ValueError(f"{value!r} is not a time with an offset")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} is not a time of the calendar in UTC") from None
