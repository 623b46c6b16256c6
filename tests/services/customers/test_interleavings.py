"""A merge beside what writes about the customer who is gone: one is paused before each exchange with PostgreSQL."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any, Final

import pytest

from tests.services.customers.test_merges import merged, ordered
from tests.support.aliases import Demo
from tests.support.erased_person import receive
from tests.support.paused_statements import pauses, run_beside
from tests.support.webhooks import NOON, apply, line, message, order
from wishcraft.domain.callers import Caller
from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.domain.registries import EventType, Priority, RegistryStatus, Visibility
from wishcraft.errors import Conflict, NotFound, RegistriesChanged
from wishcraft.resources import Resources
from wishcraft.services.customers.webhooks import handle_merges
from wishcraft.services.purchases.match import match
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.registries import items, lifecycle
from wishcraft.services.registries.lifecycle import Draft
from wishcraft.services.registries.write import ChangeRequest, registry_write
from wishcraft.services.webhooks.handler_protocol import Effect
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.idempotency import IdempotencyKey
from wishcraft.store.registry_items import ItemReading, NewItem
from wishcraft.store.shops import ShopRef

LEFT: Final = """
SELECT 'registry', customer_id FROM registries WHERE customer_id = ANY(%(ids)s)
UNION ALL SELECT 'purchase', purchaser_id FROM purchases WHERE purchaser_id = ANY(%(ids)s)
UNION ALL SELECT 'line item', purchaser_id FROM unmatched_lines WHERE purchaser_id = ANY(%(ids)s)
UNION ALL SELECT 'invitation', customer_id FROM counted_invitations WHERE customer_id = ANY(%(ids)s)
UNION ALL SELECT 'key', split_part(caller, ':', -1)::bigint FROM idempotency_keys
    WHERE split_part(caller, ':', -1)::bigint = ANY(%(ids)s)
"""
ITEM: Final = "SELECT attribution::text, variant_id FROM registry_items WHERE id = %s"
_ids: Final = count(7_600_000_000_000)
_variants: Final = count(910_000_000)


@dataclass(frozen=True)
class World:
    """A customer with a registry, an item and a line item to be matched, who is merged into another."""

    resources: Resources
    shop: ShopRef
    demo: Demo
    earlier: int
    """Who was merged into the one who is gone."""
    gone: int
    kept: int
    last: int
    """Into whom the one who was kept may be merged in turn."""
    slug: str
    """Of the registry."""
    item_id: int
    """In a registry of another customer."""
    line_id: int
    order_id: int
    """Of the line item."""

    async def merge(self, deleted: int, kept: int) -> None:
        """Apply the webhook, as often as its tries need."""
        sent = [message("customers/merge", merged(deleted, kept))]
        while True:
            try:
                await apply(self.resources, self.shop, handle_merges, sent)
            except RegistriesChanged:
                continue
            return


async def make_world(resources: Resources, shop: ShopRef, demo: Demo) -> World:
    earlier, gone, kept, last = (next(_ids) for _ in range(4))
    demo.execute("INSERT INTO merged_customers VALUES (%s, %s, %s)", [shop.id, earlier, gone])
    caller = Caller(shop.id, f"customer:{shop.id}:{gone}:{gone}", gone)
    slug, _ = await lifecycle.create_registry(resources, caller, draft(), key=None, origin=Origin())
    await add_item(resources, caller, slug, None)
    demo.execute("UPDATE invitations SET claimed_at = now(), attempts = 1")
    [(item_id,)] = demo.execute(
        """SELECT i.id FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active' AND i.status = 'active' ORDER BY i.id LIMIT 1""",
        [shop.id],
    ).fetchall()
    order_id = next(_ids)
    [(line_id,)] = demo.execute(
        """INSERT INTO unmatched_lines (shop_id, order_id, line_item_id, order_name, product_title, ordered, quantity,
               unit_price, status, claim, reason, purchaser_id, anonymous)
           VALUES (%s, %s, %s, '#1', 'Vase', 1, 1, 1, 'confirmed', '', '', %s, false) RETURNING id""",
        [shop.id, order_id, next(_ids), gone],
    ).fetchall()
    return World(resources, shop, demo, earlier, gone, kept, last, slug, item_id, line_id, order_id)


def draft() -> Draft:
    return Draft({
        "title": "Late", "description": "", "event_type": EventType.GENERAL, "event_date": None, "event_location": None,
        "visibility": Visibility.PRIVATE, "customer_email": "late@example.com", "customer_first_name": "Late",
        "customer_last_name": "One", "co_registrants": [],
    })  # fmt: skip


async def add_item(resources: Resources, caller: Caller, slug: str, key: IdempotencyKey | None) -> None:
    variant_id = next(_variants)
    variant = VariantReading(
        variant_id, 1, variant_id, "vase", "Vase", "", Decimal(9), None, tracked=False, inventory_quantity=0,
        inventory_policy=InventoryPolicy.DENY, product_active=True,
    )  # fmt: skip
    reading = ItemReading(variant, None, datetime.now(UTC))
    change = ChangeRequest(caller, slug, "item.added")
    await items._add(resources, change, NewItem(variant_id, 1, Priority.MEDIUM, ""), reading, key)


def caller_of(world: World) -> tuple[Caller, IdempotencyKey]:
    caller = Caller(world.shop.id, f"customer:{world.shop.id}:{world.gone}:{world.gone}", world.gone)
    return caller, IdempotencyKey(world.shop.id, caller.name, "one", b"0" * 32)


async def create(world: World) -> None:
    caller, key = caller_of(world)
    await lifecycle.create_registry(world.resources, caller, draft(), key=key, origin=Origin())


async def add(world: World) -> None:
    caller, key = caller_of(world)
    await add_item(world.resources, caller, world.slug, key)


async def delete(world: World) -> None:
    await lifecycle.delete_registry(world.resources, ChangeRequest(caller_of(world)[0], world.slug, "registry.deleted"))


async def restore(world: World) -> None:
    change = ChangeRequest(caller_of(world)[0], world.slug, "registry.changed")
    await lifecycle.update_registry(world.resources, change, Draft({"status": RegistryStatus.ACTIVE}))


async def buy(world: World) -> None:
    [(claim, variant_id)] = world.demo.execute(ITEM, [world.item_id]).fetchall()
    for customer in (world.gone, world.earlier):
        claims = ((claim, variant_id), ("unknown", 1), (world.slug, 1))
        bought = [ordered(next(_ids), customer, *each) for each in claims]
        messages = [message("orders/create", payload) for payload in bought]
        await apply(world.resources, world.shop, handle_orders, messages)


async def match_line(world: World) -> None:
    await match(world.resources, world.shop, world.line_id, world.item_id, {})


async def merge_again(world: World) -> None:
    await world.merge(world.kept, world.last)


@pytest.fixture(autouse=True)
def _pauses() -> Iterator[None]:
    with pauses():
        yield


@pytest.mark.parametrize("is_merge_paused", [True, False])
@pytest.mark.parametrize("write", [create, add, delete, restore, buy, match_line, merge_again])
async def test_nothing_is_left_of_a_merged_customer_in_any_interleaving(
    demo: Demo, resources: Resources, shop: ShopRef, write: Callable[[World], Awaitable[None]], *, is_merge_paused: bool
) -> None:
    for number in count():
        world = await make_world(resources, shop, demo)
        if write is restore:
            demo.execute("UPDATE registries SET status = 'archived' WHERE slug = %s", [world.slug])

        async def try_to_write(world: World = world) -> None:
            try:
                await write(world)
            except (Conflict, NotFound):
                assert demo.execute("SELECT FROM merged_customers WHERE deleted_id = %s", [world.gone]).fetchall()

        async def merge(world: World = world) -> None:
            await world.merge(world.gone, world.kept)

        pair = (merge, try_to_write) if is_merge_paused else (try_to_write, merge)
        was_reached = await run_beside(demo, number, *pair)
        gone = [world.earlier, world.gone, *([world.kept] if write is merge_again else [])]
        left: list[Any] = demo.execute(LEFT, {"ids": gone}).fetchall()
        assert left == [], number
        if not was_reached:
            assert number > 2
            return


@pytest.mark.parametrize("is_merge_paused", [True, False])
async def test_merge_and_a_change_of_an_order_of_the_customer_are_no_deadlock(
    demo: Demo, resources: Resources, shop: ShopRef, *, is_merge_paused: bool
) -> None:
    for number in count():
        world, order_id = await make_world(resources, shop, demo), next(_ids)
        [(claim, variant_id)] = demo.execute(ITEM, [world.item_id]).fetchall()

        async def change(
            second: int,
            ordered: tuple[int, int, str, int] = (order_id, world.gone, claim, variant_id),
            **values: object,
        ) -> None:
            order_id, customer, claim, variant_id = ordered
            lines = [line(order_id, variant_id, claim=claim), line(order_id + 1, None, claim="unknown")]
            payload = order(lines, number=order_id, second=second, customer={"id": customer}, **values)
            await apply(resources, shop, handle_orders, [message("orders/updated", payload)])

        await change(0)
        cancel, merge = partial(change, 1, cancelled_at=NOON.isoformat()), partial(world.merge, world.gone, world.kept)
        was_reached = await run_beside(demo, number, *((merge, cancel) if is_merge_paused else (cancel, merge)))
        assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == [], number
        if not was_reached:
            assert number > 2
            return


async def test_merge_lets_other_customers_of_the_shop_write(demo: Demo, resources: Resources, shop: ShopRef) -> None:
    """Its transaction may last: while Redis does not answer, each write waits a second before it commits."""
    world, other = await make_world(resources, shop, demo), await make_world(resources, shop, demo)
    effect = await handle_merges(resources, shop, [message("customers/merge", merged(world.gone, world.kept))])
    async with registry_write(
        resources, Actor(shop.id, "webhook"), sorted(effect.registry_ids), on_cache_down="refuse"
    ) as write:
        await effect.apply(write)
        for each in (create, add, buy, match_line, delete):
            await each(other)
    assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == []


async def test_registry_created_since_the_look_up_lets_the_merge_be_tried_again(
    demo: Demo, resources: Resources, shop: ShopRef
) -> None:
    """It is not waited for: its writer may be about to wait for the customer."""
    world = await make_world(resources, shop, demo)
    row_id = receive(demo, "customers/merge", merged(world.gone, world.kept))
    late = await make_world(resources, shop, demo)
    handlers = dict(HANDLERS)

    async def handle_late(*arguments: Any) -> Effect:
        effect = await handle_merges(*arguments)
        demo.execute("UPDATE registries SET customer_id = %s WHERE customer_id = %s", [world.gone, late.gone])
        return effect

    handlers["customers/merge"] = handle_late
    assert await process(resources, handlers, shop.domain, [row_id]) == {None: 1}
    [(error,)] = demo.execute("SELECT failures->-1->>'reason' FROM webhook_events WHERE id = %s", [row_id]).fetchall()
    assert error == "registries changed"
    demo.execute("UPDATE webhook_events SET due_at = now() WHERE id = %s", [row_id])
    assert await process(resources, HANDLERS, shop.domain, [row_id]) == {"applied": 1}
    assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == []
