"""Line items without an item: what people see of them, and how they match them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from wishcraft.errors import QueryRefused
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.store import audit_log, orders, purchases, registry_items
from wishcraft.store.audit_log import Actor
from wishcraft.store.purchases import ListedLine, OverPurchase, PurchaseRow
from wishcraft.store.registries import WriteSession
from wishcraft.store.shops import ShopRef

ACTOR: Final = "match-purchases"
_NO_LINE: Final = "the shop has no line item to be matched with this id, or it was matched or dismissed before"
_NO_ITEM: Final = "the shop has no item with this id"


class Unmatched(NamedTuple):
    """Line items that wait to be matched, how many there are, and items with more bought than wanted."""

    lines: list[ListedLine]
    total: int
    excess: list[OverPurchase]


async def find_unmatched(resources: Resources, shop: ShopRef, most: int) -> Unmatched:
    """A shop's line items and over-purchases that wait for a person."""
    async with resources.db.repeatable_read() as session:
        lines, total = await purchases.find_unmatched(session, shop.id, most)
        return Unmatched(lines, total, await purchases.find_over_purchases(session, shop.id, most))


async def match(
    resources: Resources, shop: ShopRef, unmatched_id: int, item_id: int, details: Mapping[str, Any]
) -> None:
    """Make the line item a purchase of the item, whose variant may differ. Later webhooks of its order keep the item.

    A line item that was dismissed can be matched too. The audit entry has the details.

    Raises:
        QueryRefused: The shop has no such line item, or no such item.
        CacheUnavailable: Redis does not answer, and nothing was written.
    """
    async with resources.db.autocommit() as session:
        named = await purchases.find_item(session, shop.id, item_id)
    if named is None:
        raise QueryRefused(_NO_ITEM)
    actor = Actor(shop.id, ACTOR)
    async with registry_write(resources, actor, [named.registry_id], on_cache_down="refuse") as write:
        if (item := await purchases.find_item(write.session, shop.id, item_id)) is None:  # removed meanwhile
            raise QueryRefused(_NO_ITEM)
        await _lock_order(write.session, shop.id, unmatched_id)
        line = await purchases.take_unmatched(write.session, shop.id, unmatched_id)
        if line is None:
            raise QueryRefused(_NO_LINE)
        columns = {name: value for name, value in line._asdict().items() if name in PurchaseRow._fields}
        columns["created_at"] = max(line.created_at or item.created_at, item.created_at)  # not before it was wished for
        row = PurchaseRow(registry_id=item.registry_id, item_id=item.id, **columns)
        await purchases.add(write.session, shop.id, [row])
        await registry_items.recount(write.session, shop.id, [item.registry_id])
        found = {"item": item.id, "line_item": line.line_item_id, **details}
        write.changed(item.registry_id, "purchase.matched", found)


async def dismiss(resources: Resources, shop: ShopRef, unmatched_id: int, details: Mapping[str, Any]) -> None:
    """Note that the line item belongs to no item. The audit entry has the details.

    Raises:
        QueryRefused: The shop has no such line item, or it was dismissed before.
    """
    actor = Actor(shop.id, ACTOR)
    async with registry_write(resources, actor, on_cache_down="announce") as write:
        await _lock_order(write.session, shop.id, unmatched_id)
        if not await purchases.dismiss_unmatched(write.session, shop.id, unmatched_id):
            raise QueryRefused(_NO_LINE)
        await audit_log.record(write.session, actor, "purchase.dismissed", "line_item", str(unmatched_id), details)


async def _lock_order(session: WriteSession, shop_id: int, unmatched_id: int) -> None:
    """Lock the line item's order, as its webhooks do after the registries: none may change the line item meanwhile.

    An order whose state was deleted for its age gets a new one, whose age begins now.
    """
    order_id = await purchases.find_unmatched_order(session, shop_id, unmatched_id)
    if order_id is not None:
        await orders.lock(session, shop_id, [order_id])
