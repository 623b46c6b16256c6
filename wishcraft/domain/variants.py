"""The facts known of a variant in Shopify, how long they count as known, and their payload. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from wishcraft.domain.currencies import format_money
from wishcraft.domain.inventory import VariantReading, is_available, stock_level

READING_FRESH: Final = timedelta(minutes=30)
"""`sync-inventory` renews the readings of wished-for variants every 15 minutes: one run may be missed."""
IMAGE_FRESH: Final = timedelta(days=1)
"""Pictures change rarely, and the queries of `sync-inventory` do not read them."""
UNSOLD_FRESH: Final = timedelta(minutes=1)
"""A variant that does not exist or is not sold: a merchant who publishes it expects to find it soon."""
KEPT: Final = timedelta(days=1)
"""How long facts are kept: past their freshness they are used only while Shopify does not answer."""


class VariantImage(NamedTuple):
    """The URL of a variant's image, None if it has none, and when it was read."""

    url: str | None
    observed_at: datetime


LONG_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
"""For an image that was read at an unknown time: any other replaces it."""


class VariantFacts(NamedTuple):
    """Variant facts: each part with the time just before Shopify was asked for it."""

    reading: VariantReading | None
    """None: Shopify has no such variant."""
    observed_at: datetime
    image: VariantImage | None = None
    """None: it is not known whether there is one."""

    @property
    def sold(self) -> VariantReading | None:
        """The reading of a variant that the shop sells; drafts and archived products are not for guests to see."""
        return self.reading if self.reading and self.reading.product_active else None

    @property
    def lifetime(self) -> timedelta:
        """How long to keep the facts."""
        return UNSOLD_FRESH if self.reading is None else KEPT


def is_fresh(facts: VariantFacts, now: datetime, *, any_image: bool = False) -> bool:
    """Whether Shopify need not be asked. A time far in the future, of a wrong clock, is not fresh either.

    With `any_image`, an image may be of any age: an item keeps the one that it was added with.
    """
    if facts.sold is None:
        return abs(now - facts.observed_at) < UNSOLD_FRESH
    return (
        abs(now - facts.observed_at) < READING_FRESH
        and facts.image is not None
        and (any_image or abs(now - facts.image.observed_at) < IMAGE_FRESH)
    )


def is_complete(facts: VariantFacts) -> bool:
    """Whether the facts can replace an answer of Shopify, however old they are."""
    return facts.sold is not None and facts.image is not None


def variant_payload(
    reading: VariantReading, image: VariantImage | None, currency: str, low_stock_threshold: int
) -> dict[str, Any]:
    """The payload of a variant, with the names and formats of a registry's items."""
    was = reading.compare_at_price
    return {
        "product_id": reading.product_id,
        "variant_id": reading.variant_id,
        "handle": reading.handle,
        "product_title": reading.product_title,
        "variant_title": reading.variant_title,
        "image": image.url if image else None,
        "price": format_money(reading.price, currency),
        "compare_at_price": None if was is None else format_money(was, currency),
        "available": is_available(reading),
        "stock": stock_level(reading.inventory_quantity, reading.tracked, low_stock_threshold),
    }
