"""Line items without an item: what people see of them, and how they match them."""

from typing import Final, NamedTuple

from wishcraft.errors import QueryRefused
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.store import audit_log, purchases, registry_items
from wishcraft.store.audit_log import Actor
from wishcraft.store.purchases import ListedLine, OverPurchase, PurchaseRow
from wishcraft.store.shops import ShopRef

ACTOR: Final = "match-purchases"
_UNKNOWN: Final = "the shop has no unmatched line item with this id"


class Unmatched(NamedTuple):
    """Line items that wait to be matched, how many there are, and items of which more was bought than is wanted."""

    lines: list[ListedLine]
    total: int
    excess: list[OverPurchase]


async def find_unmatched(resources: Resources, shop: ShopRef, most: int) -> Unmatched:
    """What waits for people in a shop."""
    async with resources.db.repeatable_read() as session:
        lines, total = await purchases.find_unmatched(session, shop.id, most)
        return Unmatched(lines, total, await purchases.find_over_purchases(session, shop.id, most))


async def match(resources: Resources, shop: ShopRef, unmatched_id: int, item_id: int) -> None:
    """Make the line item a purchase of the item, whose variant may differ. Later webhooks of its order keep the item.

    Raises:
        QueryRefused: The shop has no such line item, or no such item.
    """
    async with resources.db.autocommit() as session:
        item = await purchases.find_item(session, shop.id, item_id)
    if item is None:
        raise QueryRefused("the shop has no item with this id")
    actor = Actor(shop.id, ACTOR)
    async with registry_write(resources, actor, [item.registry_id], on_cache_down="refuse") as write:
        line = await purchases.take_unmatched(write.session, shop.id, unmatched_id)
        if line is None:
            raise QueryRefused(_UNKNOWN)
        columns = {name: value for name, value in line._asdict().items() if name in PurchaseRow._fields}
        row = PurchaseRow(registry_id=item.registry_id, item_id=item.id, **columns)
        await purchases.add(write.session, shop.id, [row])
        await registry_items.recount(write.session, shop.id, [item.registry_id])
        details = {"item": item.id, "line_item": line.line_item_id}
        await write.changed(item.registry_id, "purchase.matched", details)


async def dismiss(resources: Resources, shop: ShopRef, unmatched_id: int) -> None:
    """Note that the line item belongs to no item.

    Raises:
        QueryRefused: The shop has no such line item.
    """
    async with resources.db.transaction() as session:
        if not await purchases.dismiss_unmatched(session, shop.id, unmatched_id):
            raise QueryRefused(_UNKNOWN)
        await audit_log.record(session, Actor(shop.id, ACTOR), "purchase.dismissed", "line_item", str(unmatched_id))
