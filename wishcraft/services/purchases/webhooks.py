"""The handler of the webhooks about orders: it records the purchases of items, and gives back what is refunded."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.orders import find_attribution
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.purchases.attribution import FoundItems
from wishcraft.services.purchases.order_changes import Rows, add_order
from wishcraft.services.purchases.order_updates import OrderUpdate, read_messages
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.store import customers, orders, purchases, registries, registry_items
from wishcraft.store.purchases import StoredLine
from wishcraft.store.registries import WriteSession
from wishcraft.store.shops import ShopRef


async def handle_orders(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `orders/*` and `refunds/create`: the newest state of each order decides, in any order of arrival.

    Raises:
        PayloadInvalid: As `read_order`, `read_refund` and `read_edit`.
    """
    updates, ignored = read_messages(messages)
    effect = await find_effect(resources, shop, updates)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        return {**dict.fromkeys(ignored, WebhookOutcome.IGNORED), **await effect.apply(write)}

    return Effect(effect.registry_ids, apply)


async def find_effect(resources: Resources, shop: ShopRef, updates: Mapping[int, OrderUpdate]) -> Effect:
    """The effect of the updates, by order id; messages that bring nothing new are `IGNORED`."""
    async with resources.db.autocommit() as session:
        found = await _find_items(session, shop.id, updates)
        stored = await purchases.find_lines(session, shop.id, list(updates))
        named = await registries.find_ids(session, shop.id, _find_slugs(updates))
    bought_from = {line.registry_id for line in stored if line.registry_id and line.item_id}
    registry_ids = found.registry_ids | bought_from | named

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        return await _apply(write, shop.id, updates)

    return Effect(frozenset(registry_ids), apply)


async def _find_items(session: AsyncSession, shop_id: int, updates: Mapping[int, OrderUpdate]) -> FoundItems:
    """The items that the batch's snapshots name, of any variant, in at most two queries."""
    attributions: dict[UUID, None] = {}
    slug_variant_pairs: dict[tuple[str, int], None] = {}
    for order_update in updates.values():
        if order_update.newest is None:
            continue
        snapshot = order_update.newest.snapshot
        claims = [*snapshot.item_claims, *(line.claim for line in snapshot.lines)]
        attributions |= {found: None for claim in claims if (found := find_attribution(claim))}
        if snapshot.registry_claim:
            variant_ids = [line.variant_id for line in snapshot.lines if line.variant_id]
            slug_variant_pairs |= {(snapshot.registry_claim, variant_id): None for variant_id in variant_ids}
    return FoundItems(await purchases.find_items(session, shop_id, list(attributions), list(slug_variant_pairs)))


async def _apply(write: RegistryWrite, shop_id: int, updates: Mapping[int, OrderUpdate]) -> dict[int, WebhookOutcome]:
    session = write.session
    states = await orders.lock(session, shop_id, updates)
    found = await _find_items(session, shop_id, updates)
    stored: defaultdict[int, list[StoredLine]] = defaultdict(list)
    for line in await purchases.find_lines(session, shop_id, list(updates)):
        stored[line.order_id].append(line)
    rows = Rows()
    for order_id, order_update in updates.items():
        states[order_id] = add_order(rows, order_update, states[order_id], stored[order_id], found)
    touched = {row.registry_id for row in rows.bought} | {
        line.registry_id for lines in stored.values() for line in lines if line.registry_id and line.item_id
    }
    await write.lock_more(touched)  # a line was matched, or an item restored, since the look-up
    _drop_unknown_claims(write, rows)
    await _name_kept_customers(session, shop_id, rows)
    await purchases.add(session, shop_id, rows.bought)
    await purchases.add_unmatched(session, shop_id, rows.unmatched)
    await purchases.change(session, shop_id, rows.changes)
    await purchases.delete_unmatched(session, shop_id, rows.matched)
    await orders.save(session, shop_id, states)
    for registry_id in await registry_items.recount(session, shop_id, sorted(touched)):
        write.changed(registry_id)
    return dict.fromkeys(rows.ignored, WebhookOutcome.IGNORED)


async def _name_kept_customers(session: WriteSession, shop_id: int, rows: Rows) -> None:
    """Replace purchasers who were merged into others meanwhile: an order keeps the id that it was made with."""
    purchasers = {row.purchaser_id for row in rows.bought if row.purchaser_id}
    purchasers |= {row.purchaser_id for row in rows.unmatched if row.purchaser_id}
    await customers.hold(session, shop_id, purchasers)
    kept = await customers.find_kept(session, shop_id, purchasers)
    rows.bought = [
        row._replace(purchaser_id=kept[row.purchaser_id]) if row.purchaser_id in kept else row for row in rows.bought
    ]
    rows.unmatched = [
        row._replace(purchaser_id=kept[row.purchaser_id]) if row.purchaser_id in kept else row for row in rows.unmatched
    ]


def _find_slugs(updates: Mapping[int, OrderUpdate]) -> set[str]:
    """What the batch's snapshots claim and is no attribution: slugs of registries, or of none."""
    snapshots = [each.newest.snapshot for each in updates.values() if each.newest]
    claims = {claim for each in snapshots for claim in (each.registry_claim, *each.item_claims)}
    claims |= {line.claim for each in snapshots for line in each.lines}
    return {claim for claim in claims if claim and find_attribution(claim) is None}


def _drop_unknown_claims(write: RegistryWrite, rows: Rows) -> None:
    """Keep of the claims only attributions and slugs that registries have: others may name a person who was erased.

    The registries are locked, so that none is erased before the commit.
    """
    slugs = {registry.slug for registry in write.locked.values()}
    rows.unmatched = [
        row if find_attribution(row.claim) or row.claim in slugs else row._replace(claim="") for row in rows.unmatched
    ]
