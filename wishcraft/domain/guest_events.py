"""Types of guest events. Pure."""

from enum import StrEnum


class AnalyticsType(StrEnum):
    """Type of a guest event; the values are stored."""

    REGISTRY_VIEWED = "registry_viewed"
    ITEM_CLICKED = "item_clicked"
    ADDED_TO_CART = "added_to_cart"
    PURCHASED = "purchased"
