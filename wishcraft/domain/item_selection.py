"""Filters and orders of a registry's items. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from wishcraft.domain.registries import Priority

_Item = Mapping[str, Any]
"""An item of `registry_payload`."""


class ItemSort(StrEnum):
    """Order of a registry's items. Items that are equal in it are in display order."""

    DISPLAY_ORDER = "display_order"
    """As the registrant arranged them."""
    PRICE = "price"
    """The lowest first."""
    PRICE_DESCENDING = "-price"
    PRIORITY = "priority"
    """The highest first."""
    NEWEST = "newest"


_PRIORITIES: Final = {priority.value: rank for rank, priority in enumerate(Priority)}
_KEYS: Final[Mapping[ItemSort, Callable[[_Item], Any]]] = {
    ItemSort.PRICE: lambda item: Decimal(item["price"]),
    ItemSort.PRICE_DESCENDING: lambda item: -Decimal(item["price"]),
    ItemSort.PRIORITY: lambda item: _PRIORITIES[item["priority"]],
    ItemSort.NEWEST: lambda item: -item["id"],
}


@dataclass(frozen=True, slots=True)
class ItemSelection:
    """Which items, and in which order; None does not filter."""

    available: bool | None
    """Whether the variant can be bought now."""
    given: bool | None
    """Whether as many pieces as wanted were purchased."""
    price_min: Decimal | None
    price_max: Decimal | None
    """Both included, in the registry's currency."""
    priority: Priority | None
    sort: ItemSort

    def apply(self, items: Sequence[_Item]) -> list[_Item]:
        """These of the items, which are in display order."""
        selected = [item for item in items if self._has(item)]
        if key := _KEYS.get(self.sort):
            selected.sort(key=key)
        return selected

    def _has(self, item: _Item) -> bool:
        price = Decimal(item["price"])
        return (
            self.available in {None, item["available"]}
            and self.given in {None, item["remaining"] == 0}
            and (self.price_min is None or price >= self.price_min)
            and (self.price_max is None or price <= self.price_max)
            and self.priority in {None, item["priority"]}
        )
