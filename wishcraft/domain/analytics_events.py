"""Types of analytics events: what visitors do with a registry. Pure."""

from enum import StrEnum
from typing import Final

VISITOR_ID: Final = r"^[A-Za-z0-9_-]{1,64}$"
"""Pattern of the id that a storefront gives a visitor: a browser; nothing else is known of it."""


class AnalyticsType(StrEnum):
    """Type of an analytics event; the values are stored."""

    REGISTRY_VIEWED = "registry_viewed"
    ITEM_CLICKED = "item_clicked"
    ADDED_TO_CART = "added_to_cart"
    PURCHASED = "purchased"
