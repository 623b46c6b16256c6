"""Any order and repetition of webhooks and syncs ends in the state that Shopify has."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from deployments.sandbox.shopify.inventory import LOCATION, ProductStatus, Variant, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.hypothesis_profiles import examples
from tests.support.webhooks import NOON, apply, inventory_item, level, message, product, variant
from wishcraft.resources import Resources
from wishcraft.services.inventory import sync
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.store.shops import ShopRef

ELSEWHERE: Final = 71
SHOWN: Final = "tracked, inventory_quantity, available, status, product_active"
"""Columns of a deleted variant that do not depend on what came before; it keeps the price that was known."""
ITEMS: Final = f"{SHOWN}, price, product_title"


@dataclass(frozen=True)
class Truth:
    """The state of a variant in Shopify at some time."""

    price: str = "5.00"
    title: str = "Vase"
    status: ProductStatus = ProductStatus.ACTIVE
    tracked: bool = True
    here: int = 9
    elsewhere: int = 3
    deleted: bool = False


@dataclass(frozen=True)
class Sync:
    """A sync that asked Shopify so many seconds after `NOON`."""

    second: int
    truth: Truth


Event = Message | Sync


class History:
    """Changes of a variant, and what is sent of them."""

    def __init__(self, chosen: Variant) -> None:
        self.variant, self.truth, self.events = chosen, Truth(), list[Event]()

    def change_product(self, second: float, *, lost: bool = False, **changes: Any) -> None:
        self.truth = replace(self.truth, **changes)
        listed = [variant(self.variant.variant_id, self.truth.price)]
        values: dict[str, Any] = {"title": self.truth.title, "status": self.truth.status.lower()}
        payload = product(self.variant.product_id, listed, second=second, **values)
        self.events += [] if lost else [message("products/update", payload, second)]

    def change_level(self, second: float, *, lost: bool = False, **changes: Any) -> None:
        self.truth = replace(self.truth, **changes)
        pieces = {LOCATION: self.truth.here, ELSEWHERE: self.truth.elsewhere}
        location = LOCATION if "here" in changes else ELSEWHERE
        payload = level(self.variant.inventory_item_id, pieces[location], location=location, second=second)
        self.events += [] if lost else [message("inventory_levels/update", payload, second)]

    def change_tracking(self, second: float, *, tracked: bool) -> None:
        self.truth = replace(self.truth, tracked=tracked)
        payload = inventory_item(self.variant.inventory_item_id, tracked=tracked, second=second)
        self.events.append(message("inventory_items/update", payload, second))

    def delete(self, second: float) -> None:
        self.truth = replace(self.truth, deleted=True)
        self.events.append(message("products/delete", {"id": self.variant.product_id}, second))

    def sync(self, second: int) -> None:
        self.events.append(Sync(second, self.truth))


def history(chosen: Variant, kind: str) -> History:
    happened = History(chosen)
    happened.change_level(10, here=7)
    happened.change_product(20, price="6.00")
    happened.sync(25)
    happened.change_level(30.1, elsewhere=0)
    happened.change_level(30.2, here=0)
    happened.change_level(30.7, here=4)
    happened.change_product(40.2, status=ProductStatus.DRAFT)
    happened.change_product(40.6, status=ProductStatus.ARCHIVED, price="7.00")
    if kind == "with tracking":
        happened.change_tracking(42, tracked=False)
        happened.change_tracking(45, tracked=True)
    happened.sync(50)
    happened.change_product(60, status=ProductStatus.ACTIVE, price="8.00")
    happened.change_level(70, elsewhere=-6)
    if kind == "with losses":
        happened.change_product(75, title="Bowl", lost=True)
        happened.change_level(76, here=20, lost=True)
        happened.change_level(80, elsewhere=2)
        happened.sync(90)
    elif kind == "deleted":
        happened.delete(95)
    else:
        happened.change_level(80, here=1)
    return happened


class Deliveries:
    """Delivers events to a shop whose items are as they were before all of them."""

    def __init__(
        self, resources: Resources, demo: Demo, shop: ShopRef, shopify: SimulatedShop, happened: History
    ) -> None:
        self.resources, self.demo, self.shop, self.shopify, self.happened = resources, demo, shop, shopify, happened

    async def deliver(self, batches: list[list[Event]]) -> list[list[tuple[Any, ...]]]:
        """The state after these batches, each of which is handled at once; syncs are batches of their own."""
        self._reset()
        self.shopify.bucket.refund(self.shopify.bucket.maximum)  # no example waits for points
        for batch in batches:
            sent = [each for each in batch if isinstance(each, Message)]
            self._show(self.happened.truth)  # all has happened when they arrive
            for handler in dict.fromkeys(HANDLERS[each.topic] for each in sent):
                await apply(
                    self.resources, self.shop, handler, [each for each in sent if HANDLERS[each.topic] is handler]
                )
            for each in batch:
                if isinstance(each, Sync):
                    self._show(each.truth)
                    Clock.second = each.second
                    await sync_shop(self.resources, self.shop)
        columns = SHOWN if self.happened.truth.deleted else ITEMS
        queries = (
            f"SELECT {columns} FROM registry_items WHERE variant_id = %(variant)s ORDER BY id",  # noqa: S608  constants
            "SELECT updated_at, triggered_at FROM product_versions WHERE product_id = %(product)s",
            "SELECT updated_at, triggered_at, tracked FROM inventory_items WHERE inventory_item_id = %(item)s",
        )
        chosen = self.happened.variant
        numbers = {"variant": chosen.variant_id, "product": chosen.product_id, "item": chosen.inventory_item_id}
        return [self.demo.execute(query.encode(), numbers).fetchall() for query in queries]

    def _show(self, truth: Truth) -> None:
        """Let Shopify have this of the variant."""
        fields = {
            "price": Decimal(truth.price), "product_title": truth.title, "tracked": truth.tracked,
            "quantity": truth.here + truth.elsewhere, "elsewhere": {ELSEWHERE: truth.elsewhere},
            "deleted": truth.deleted, "variant_title": "", "compare_at_price": None, "handle": "vase",
        }  # fmt: skip
        self.shopify.inventory.change(self.happened.variant, VariantChange(fields, truth.status))

    def _reset(self) -> None:
        self.demo.execute("TRUNCATE product_versions, inventory_items, inventory_levels")
        self.demo.execute("UPDATE shops SET variants_read_at = NULL")
        start, chosen = NOON - timedelta(hours=1), self.happened.variant
        self.demo.execute(
            "UPDATE registry_items SET created_at = %s, inventory_observed_at = NULL WHERE shop_id = %s",
            [start, self.shop.id],
        )
        self.demo.execute(
            """UPDATE registry_items SET price = 5, compare_at_price = NULL, product_title = 'Vase', variant_title = '',
                   handle = 'vase', tracked = true, inventory_quantity = 12, inventory_policy = 'deny',
                   product_active = true, available = true, status = 'active'
               WHERE shop_id = %s AND variant_id = %s""",
            [self.shop.id, chosen.variant_id],
        )
        item = [self.shop.id, chosen.inventory_item_id]
        self.demo.execute(
            """INSERT INTO inventory_items (shop_id, inventory_item_id, levels_read_at, stock_observed_at)
               VALUES (%s, %s, %s, %s)""",
            [*item, start, start],
        )
        for location, available in ((LOCATION, 9), (ELSEWHERE, 3)):
            self.demo.execute(
                """INSERT INTO inventory_levels
                   (shop_id, inventory_item_id, location_id, available, updated_at, triggered_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                [*item, location, available, start, start],
            )


class Clock(datetime):
    """The time at which syncs ask Shopify."""

    second = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        assert tz
        return NOON + timedelta(seconds=cls.second)


@pytest.mark.hypothesis
@pytest.mark.long
@pytest.mark.parametrize("kind", ["plain", "with tracking", "with losses", "deleted"])
def test_webhooks_and_syncs_in_any_order_and_number_end_in_the_state_of_the_shop(
    runner: asyncio.Runner,
    resources_of_runner: Resources,
    shop_of_runner: ShopRef,
    demo: Demo,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(sync, "datetime", Clock)
    resources, shop = resources_of_runner, shop_of_runner
    query = """SELECT i.variant_id, r.id FROM registry_items i JOIN registries r ON r.id = i.registry_id
               WHERE r.shop_id = 1 AND r.status = 'active' AND i.inventory_policy = 'deny' AND i.status <> 'hidden'
                   AND r.id = (SELECT max(id) FROM registries WHERE shop_id = 1 AND status = 'active')
               ORDER BY i.variant_id LIMIT 1"""
    [(number, registry_id)] = demo.execute(query).fetchall()
    demo.execute("UPDATE registries SET status = 'archived' WHERE shop_id = 1 AND id <> %s", [registry_id])
    shopify = simulator.shops[shop.domain]
    chosen = shopify.inventory.find(number)
    assert chosen
    for other in shopify.inventory.variant_ids(chosen.product_id):  # the payload has this variant alone
        if other != number and (sibling := shopify.inventory.find(other)):
            sibling.deleted = True
    happened = history(chosen, kind)
    deliveries = Deliveries(resources, demo, shop, shopify, happened)
    serial = runner.run(deliveries.deliver([[each] for each in happened.events]))
    truth = happened.truth
    stock = 0 if truth.deleted else truth.here + truth.elsewhere
    assert {row[:2] for row in serial[0]} == {(truth.tracked, stock)}
    assert truth.deleted or {row[5:] for row in serial[0]} == {(Decimal(truth.price), truth.title)}

    @hypothesis.settings(
        max_examples=examples(quick=10, deep=100), suppress_health_check=list(HealthCheck), deadline=None
    )
    @given(data=st.data())
    def shuffle(data: st.DataObject) -> None:
        repeated = happened.events + data.draw(st.lists(st.sampled_from(happened.events), max_size=3))
        shuffled = data.draw(st.permutations(repeated))
        ends = sorted(data.draw(st.sets(st.integers(1, len(shuffled) - 1), max_size=8)))
        batches = [list(shuffled[a:b]) for a, b in zip([0, *ends], [*ends, len(shuffled)], strict=True)]
        assert runner.run(deliveries.deliver(batches)) == serial

    shuffle()
