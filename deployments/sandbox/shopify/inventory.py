"""A simulated shop's inventory in memory: read by id or by page, changed by hand or by the tick."""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Final

from deployments.sandbox.catalogue import CatalogueVariant, DemoShop, catalogue
from wishcraft.domain.currencies import decimals, format_money
from wishcraft.domain.inventory import InventoryPolicy

LOCATION: Final = 1
"""The shop's first location."""
STORE: Final = 2
"""The location that a shop may have besides."""
_STORE_SHARE: Final = 4
_CHANGES_PER_TICK: Final = 3
_PRICE_SHARE: Final = 0.15
_RESTOCK_SHARE: Final = 0.2


class ProductStatus(StrEnum):
    """The status of a product."""

    ACTIVE = "ACTIVE"
    UNLISTED = "UNLISTED"
    DRAFT = "DRAFT"
    ARCHIVED = "ARCHIVED"


@dataclass(slots=True)
class Variant:
    """The current state of a variant; the tick skips it once it was changed `by_hand`."""

    variant_id: int
    product_id: int
    inventory_item_id: int
    handle: str
    product_title: str
    variant_title: str
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    quantity: int
    """At all locations."""
    policy: InventoryPolicy
    updated_at: datetime
    elsewhere: dict[int, int] = field(default_factory=dict)
    """The part of it at further locations, by their ids; the rest is at `LOCATION`."""
    deleted: bool = False
    by_hand: bool = False

    @property
    def titles(self) -> str:
        """The titles of product and variant."""
        return f"{self.product_title} {self.variant_title}"

    @property
    def levels(self) -> dict[int, int]:
        """The pieces at each location, by its id, ascending."""
        first = {LOCATION: self.quantity - sum(self.elsewhere.values())}
        return dict(sorted((first | self.elsewhere).items()))


@dataclass(frozen=True, slots=True)
class VariantChange:
    """A manual change of a variant: its fields by name, and its product's status."""

    fields: Mapping[str, object]
    product_status: ProductStatus | None = None


class Inventory:
    """One shop's variants, with ids in ascending order. Deleted variants are kept for `find_or_deleted`."""

    on_change: Callable[[Variant, Mapping[int, int]], None] = staticmethod(lambda _variant, _levels: None)
    """Called after each change, with the pieces by location before it."""
    on_item_change: Callable[[Variant], None] = staticmethod(lambda _variant: None)
    """Called after a change of whether stock is counted."""

    def __init__(
        self, shop: DemoShop, products: int, seed: int, clock: Callable[[], float], *, has_store: bool = False
    ) -> None:
        """With `has_store`, a quarter of the pieces are at `STORE`."""
        self._clock = clock
        self._random = random.Random(f"tick:{seed}:{shop.domain}")  # noqa: S311  demo data
        self._currency = shop.currency
        self._shop, self._products, self._seed, self._has_store = shop, products, seed, has_store
        self._began = self._now()
        self._statuses: dict[int, ProductStatus] = {}

    @cached_property
    def _variants(self) -> dict[int, Variant]:
        """The variants by id; on first use, because the tests begin with a new simulator each and use few shops."""
        variants = {
            v.variant_id: _new_variant(v, self._began) for v in catalogue(self._shop, self._products, self._seed)
        }
        if self._has_store:
            for variant in variants.values():
                variant.elsewhere[STORE] = variant.quantity // _STORE_SHARE
        return variants

    @cached_property
    def _by_product(self) -> defaultdict[int, list[int]]:
        """The ids of each product's variants."""
        ids: defaultdict[int, list[int]] = defaultdict(list)
        for variant in self._variants.values():
            ids[variant.product_id].append(variant.variant_id)
        return ids

    @cached_property
    def _by_item(self) -> dict[int, int]:
        """Each inventory item's variant."""
        return {v.inventory_item_id: v.variant_id for v in self._variants.values()}

    def find(self, variant_id: int) -> Variant | None:
        """The variant; None if unknown or deleted."""
        variant = self._variants.get(variant_id)
        return variant if variant and not variant.deleted else None

    def find_by_inventory_item(self, inventory_item_id: int) -> Variant | None:
        """The variant of an inventory item; None if unknown or deleted."""
        return self.find(self._by_item.get(inventory_item_id, 0))

    def find_or_deleted(self, variant_id: int) -> Variant | None:
        """The variant, even if deleted; None if unknown."""
        return self._variants.get(variant_id)

    def variant_ids(self, product_id: int | None = None) -> list[int]:
        """Ids of the variants of one product or of all."""
        ids: Sequence[int] = list(self._variants) if product_id is None else self._by_product.get(product_id, [])
        return [number for number in ids if not self._variants[number].deleted]

    def search(self, text: str) -> list[int]:
        """Ids of the variants whose titles have all words of the text, however they are capitalized."""
        words = text.casefold().split()
        return [
            number
            for number in self.variant_ids()
            if all(word in self._variants[number].titles.casefold() for word in words)
        ]

    def product_ids(self) -> list[int]:
        """Ids of products with at least one variant."""
        return [product for product in self._by_product if self.variant_ids(product)]

    def status(self, product_id: int) -> ProductStatus:
        """The product's status, ACTIVE unless changed by hand."""
        return self._statuses.get(product_id, ProductStatus.ACTIVE)

    def change(self, variant: Variant, change: VariantChange) -> None:
        """Change a variant by hand."""
        before, was_tracked = variant.levels, variant.tracked
        for name, value in change.fields.items():
            setattr(
                variant, name, Decimal(format_money(value, self._currency)) if isinstance(value, Decimal) else value
            )
        if change.product_status is not None:
            self._statuses[variant.product_id] = change.product_status
        variant.by_hand = True
        self._publish_change(variant, before)
        if variant.tracked != was_tracked:
            self.on_item_change(variant)

    def move(self, variant: Variant, pieces: int) -> None:
        """Take pieces back or, with a negative number, out of the location that has most, if stock is tracked."""
        before = variant.levels
        variant.quantity += pieces if variant.tracked else 0
        fullest = max(before, key=lambda location: before[location])
        if variant.tracked and pieces < 0 and fullest in variant.elsewhere:
            variant.elsewhere[fullest] += pieces
        self._publish_change(variant, before)

    def tick(self) -> None:
        """Sell, restock or reprice some variants that were not changed by hand."""
        candidates = [variant for variant in self._variants.values() if not (variant.by_hand or variant.deleted)]
        for variant in self._random.sample(candidates, min(_CHANGES_PER_TICK, len(candidates))):
            self._change_randomly(variant)

    def _change_randomly(self, variant: Variant) -> None:
        before = variant.levels
        if self._random.random() < _PRICE_SHARE:
            factor = Decimal(self._random.randint(90, 110)) / 100
            smallest = Decimal(1).scaleb(-decimals(self._currency))
            variant.price = max(smallest, Decimal(format_money(variant.price * factor, self._currency)))
        elif self._random.random() < _RESTOCK_SHARE:
            variant.quantity += self._random.randint(5, 20)
        else:
            variant.quantity = max(0, variant.quantity - self._random.randint(1, 3))
        self._publish_change(variant, before)

    def _publish_change(self, variant: Variant, before: Mapping[int, int]) -> None:
        variant.updated_at = self._now()
        self.on_change(variant, before)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _new_variant(v: CatalogueVariant, at: datetime) -> Variant:
    """The variant in its initial state. Field by field: `asdict` copies deeply, which takes ten times as long."""
    return Variant(
        variant_id=v.variant_id,
        product_id=v.product_id,
        inventory_item_id=v.inventory_item_id,
        handle=v.handle,
        product_title=v.product_title,
        variant_title=v.variant_title,
        price=v.price,
        compare_at_price=v.compare_at_price,
        tracked=v.tracked,
        quantity=v.quantity,
        policy=v.policy,
        updated_at=at,
    )


def page(ids: Sequence[int], first: int, after: int | None) -> list[int]:
    """Up to `first` of the ascending `ids` that come after `after`."""
    start = 0 if after is None else bisect_right(ids, after)
    return list(ids[start : start + first])
