"""What guests do with a registry, as it is counted. Pure."""

from enum import StrEnum


class AnalyticsType(StrEnum):
    """What a guest did."""

    REGISTRY_VIEWED = "registry_viewed"
    ITEM_CLICKED = "item_clicked"
    ADDED_TO_CART = "added_to_cart"
    PURCHASED = "purchased"
