"""Adding, changing and removing the items of a registry for its registrant."""

from typing import Any, Final

from wishcraft.cache.entries import Entry
from wishcraft.domain.callers import Caller
from wishcraft.domain.registries import ItemStatus
from wishcraft.errors import Conflict, LimitReached, NotFound, PreconditionFailed, invalid_field
from wishcraft.resources import Resources
from wishcraft.services.registries.lifecycle import replay, replay_stored
from wishcraft.services.registries.write import ChangeRequest, change_registry, check_change
from wishcraft.services.variants.reader import VariantReader
from wishcraft.store import idempotency, registry_items
from wishcraft.store.idempotency import IdempotencyKey
from wishcraft.store.registries import LockedRegistry, WriteSession
from wishcraft.store.registry_items import ItemReading, NewItem

_NO_SUCH_ITEM: Final = "The registry has no such item."


async def add_item(
    resources: Resources, variants: VariantReader, change: ChangeRequest, new: NewItem, key: IdempotencyKey | None
) -> Entry | None:
    """Add a variant with what is known of it, or else as Shopify has it now. A repeated key adds no second item.

    Returns:
        The registry's refilled cache entry for its registrant; None if it was not refilled, or the key was repeated.

    Raises:
        RequestRefused: As `change_registry`; LimitReached if the registry is full; Conflict if it has the variant
            already, or the key was sent with another request; Invalid if the shop sells no such variant.
        TooManyQueries, ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: As `VariantReader.read`.
    """
    if key and await _is_added(resources, key):
        return None
    try:
        await check_change(resources, change)  # before the request costs the shop's points
        reading = await _read_variant(variants, change.caller, new.variant_id)
        return await _add(resources, change, new, reading, key)
    except PreconditionFailed:
        if key and await _is_added(resources, key):  # meanwhile, by a request with the same key
            return None
        raise


async def _add(
    resources: Resources, change: ChangeRequest, new: NewItem, reading: ItemReading, key: IdempotencyKey | None
) -> Entry | None:
    async with change_registry(resources, change) as (write, registry):
        if key and not (await write.run(idempotency.acquire_key(key)))[0]:
            await replay_stored(write, key)
            write.is_empty = True
            return None
        item_id = await _insert(write.session, change.caller.shop_id, registry, new, reading)
        write.details.update(item=item_id, variant=new.variant_id)
        if key:
            write.later.append(idempotency.complete(key, str(item_id)))
    return write.own_entry(change.slug)


async def change_item(
    resources: Resources, change: ChangeRequest, item_id: int, values: dict[str, Any]
) -> Entry | None:
    """Set these columns of an item; the registry's refilled cache entry for its registrant, None if not refilled.

    Nothing is written if they have these values already.

    Raises:
        RequestRefused: As `change_registry`; NotFound if the registry has no such item.
    """
    shop_id = change.caller.shop_id
    find_values = registry_items.find_registrant_values(shop_id, change.slug, item_id)
    async with change_registry(resources, change, find_values) as (write, registry):
        if not write.found[0]:
            raise NotFound(_NO_SUCH_ITEM)
        current = dict(zip(registry_items.REGISTRANT_COLUMNS, write.found[0][0], strict=True))
        changed = {name: value for name, value in values.items() if value != current[name]}
        write.is_empty = not changed
        write.details.update(item=item_id, fields=sorted(changed))
        if changed:
            write.later.append(registry_items.set_registrant_values(shop_id, registry.id, item_id, current | changed))
    return write.own_entry(change.slug)


async def remove_item(resources: Resources, change: ChangeRequest, item_id: int) -> Entry | None:
    """Remove an item, whose purchases are kept; returns as `change_item`.

    Raises:
        RequestRefused: As `change_registry`; NotFound if the registry has no such item.
    """
    async with change_registry(resources, change) as (write, registry):
        if not await registry_items.remove(write.session, change.caller.shop_id, registry.id, item_id):
            raise NotFound(_NO_SUCH_ITEM)
        write.details["item"] = item_id
    return write.own_entry(change.slug)


async def _is_added(resources: Resources, key: IdempotencyKey) -> bool:
    """Whether an earlier request added the item: Shopify is not queried again, and If-Match may be outdated by then."""
    async with resources.db.autocommit() as session:
        stored = await idempotency.find_result(session, key)
    return bool(stored and replay(stored))


async def _read_variant(variants: VariantReader, caller: Caller, variant_id: int) -> ItemReading:
    facts = (await variants.read(caller, [variant_id], any_image=True)).facts.get(variant_id)
    if facts is None:
        raise invalid_field("variant_id", "The variant cannot be added: its values in Shopify are out of range.")
    if facts.sold is None:
        raise invalid_field("variant_id", "The shop sells no such variant.")
    return ItemReading(facts.sold, facts.image.url if facts.image else None, facts.observed_at)


async def _insert(
    session: WriteSession, shop_id: int, registry: LockedRegistry, new: NewItem, reading: ItemReading
) -> int:
    """Insert the item at the end, or show it again if it was hidden; its id."""
    slots = await registry_items.find_slots(session, shop_id, registry.id, new.variant_id)
    if slots.same_id and slots.same_status is not ItemStatus.HIDDEN:
        raise Conflict(f"The registry has this variant already: change item {slots.same_id} instead.")
    most = registry.settings.max_items_per_registry
    if slots.shown >= most:
        raise LimitReached(f"A registry of this shop may have {most} items.")
    if slots.same_id:
        await registry_items.restore(session, shop_id, slots, new, reading, currency=registry.currency)
        return slots.same_id
    return await registry_items.add(
        session, shop_id, registry.id, new, reading, currency=registry.currency, display_order=slots.last + 1
    )
