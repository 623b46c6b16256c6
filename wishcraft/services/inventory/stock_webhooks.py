"""The handler of the webhooks about stock: the levels of all locations add up to it."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from wishcraft.domain.webhooks import EventTime, WebhookOutcome
from wishcraft.errors import ShopifyRefused, ShopifyThrottled, ShopifyUnavailable, TransientError
from wishcraft.resources import Resources
from wishcraft.services.inventory.webhook_changes import (
    apply_observations,
    mark_outdated,
    read_event_time,
    registries_of,
)
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message, wait_for_shopify
from wishcraft.shopify.inventory_levels import read_levels
from wishcraft.shopify.product_payloads import LevelSnapshot, read_inventory_item, read_level
from wishcraft.store import inventory_levels, item_readings
from wishcraft.store.inventory_levels import ItemState, ReadLevels, StockAtLocation, Tracking
from wishcraft.store.item_readings import Observation, WishedVariant
from wishcraft.store.shops import ShopRef

LEVELS: Final = "inventory_levels/update"
_log: Final = logging.getLogger(__name__)
Key = TypeVar("Key")
Update = TypeVar("Update", StockAtLocation, Tracking)


@dataclass(slots=True)
class StockUpdates:
    """Newest stock levels and tracking of a batch, each with the message's id."""

    levels: dict[tuple[int, int], tuple[StockAtLocation, int]] = field(default_factory=dict)
    """By inventory item and location."""
    tracking: dict[int, tuple[Tracking, int]] = field(default_factory=dict)
    """By inventory item."""
    ignored: list[int] = field(default_factory=list)
    """Ids of the other messages."""

    def leave_out(self, items: AbstractSet[int]) -> list[int]:
        """Forget what is said of these inventory items; the ids of the messages that say it."""
        levels = [key for key in self.levels if key[0] in items]
        left_out = [self.levels.pop(key)[1] for key in levels]
        return left_out + [self.tracking.pop(item_id)[1] for item_id in items & self.tracking.keys()]

    def times(self) -> dict[int, datetime]:
        """From which time on a reading is newer than all that is said, by inventory item."""
        times: defaultdict[int, list[datetime]] = defaultdict(list)
        for (item_id, _), (level, _) in self.levels.items():
            times[item_id].append(level.time.observed_at)
        for item_id, (tracking, _) in self.tracking.items():
            times[item_id].append(tracking.time.observed_at)
        return {item_id: max(each) for item_id, each in times.items()}


class SavedStock(NamedTuple):
    """The levels and flags that were stored because they are newer."""

    levels: AbstractSet[tuple[int, int]] = frozenset()
    """By inventory item and location."""
    tracking: AbstractSet[int] = frozenset()
    """By inventory item."""
    unknown: AbstractSet[int] = frozenset()
    """Inventory items that got a level, while others of their levels are not known."""


async def handle_stock(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `inventory_levels/update` and `inventory_items/update`: the levels of all locations add up to the stock.

    If not all levels of an item are known, they are read from Shopify: all such items of the batch together. If they
    cannot be read now, the webhooks about these items fail, and no others. Levels of items that no active registry has
    are not stored: what is known of them counts as outdated from then on.

    Raises:
        PayloadInvalid: As `read_level` and `read_inventory_item`.
        TransientError: By `apply`: a sync has found meanwhile that levels are outdated, or no active registry had an
            item for a while, so that levels which changed then were not stored.
    """
    updates = _read_stock(messages)
    times = updates.times()
    async with resources.db.autocommit() as session:
        found = await item_readings.find_of_inventory_items(session, shop.id, times)
        items = {variant.inventory_item_id for variant in found}
        states = await inventory_levels.find_items(session, shop.id, items) if items else {}
        unknown = _find_unknown(updates, found, states)
        states |= await inventory_levels.add_items(session, shop.id, unknown) if unknown else {}
    await mark_outdated(resources, shop.id, {each.variant_id: times[each.inventory_item_id] for each in found})
    unwished = {item_id for item_id, _ in updates.levels} - items
    read, failed = dict[int, ReadLevels](), dict[int, TransientError]()
    try:
        read = await wait_for_shopify(_read_levels(resources, shop, {item_id: times[item_id] for item_id in unknown}))
    except (ShopifyUnavailable, ShopifyThrottled) as error:
        failed = dict.fromkeys(updates.leave_out(unknown), error)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        locked = await inventory_levels.lock_items(write.session, shop.id, items, unwished) if items else {}
        if unwished:
            await inventory_levels.forget_levels(write.session, shop.id, unwished)
        if any(
            not each.levels_read_at and each.revision != states[item_id].revision
            for item_id, each in locked.items()
            if item_id in read
        ):
            raise TransientError("Levels have changed, and were not stored, since these were read.")
        saved = await _apply_stock(write, shop.id, updates, found, read, locked) if found else SavedStock()
        if saved.unknown - unknown:
            raise TransientError("A sync has found that some levels are outdated: they are to be read again.")
        past = [message_id for key, (_, message_id) in updates.levels.items() if key not in saved.levels]
        past += [message_id for key, (_, message_id) in updates.tracking.items() if key not in saved.tracking]
        return dict.fromkeys([*updates.ignored, *past], WebhookOutcome.IGNORED)

    return Effect(registries_of(found), apply, failed=failed)


def _read_stock(messages: Sequence[Message]) -> StockUpdates:
    updates = StockUpdates()
    for message in messages:
        if message.topic == LEVELS:
            snapshot = read_level(message.payload)
            level = _level(snapshot, read_event_time(message, snapshot.updated_at))
            _keep_newest(
                updates.levels, (level.inventory_item_id, level.location_id), level, message.id, updates.ignored
            )
        else:
            item_id, tracked, updated_at = read_inventory_item(message.payload)
            tracking = Tracking(item_id, tracked, read_event_time(message, updated_at))
            _keep_newest(updates.tracking, item_id, tracking, message.id, updates.ignored)
    return updates


def _keep_newest(
    known: dict[Key, tuple[Update, int]], key: Key, each: Update, message_id: int, ignored: list[int]
) -> None:
    if key in known and each.version <= known[key][0].version:
        ignored.append(message_id)
        return
    if key in known:
        ignored.append(known[key][1])
    known[key] = each, message_id


def _find_unknown(updates: StockUpdates, found: Sequence[WishedVariant], states: Mapping[int, ItemState]) -> set[int]:
    """The inventory items that lack levels, or are counted from now on."""
    changed = {item_id for item_id, _ in updates.levels}
    counted = {item_id for item_id, (each, _) in updates.tracking.items() if each.tracked}
    return {
        variant.inventory_item_id
        for variant in found
        if (
            variant.inventory_item_id in changed
            and not states.get(variant.inventory_item_id, ItemState()).levels_read_at
        )
        or (variant.inventory_item_id in counted and not variant.tracked)
    }


async def _read_levels(resources: Resources, shop: ShopRef, item_ids: Mapping[int, datetime]) -> dict[int, ReadLevels]:
    """All levels, read now from Shopify. No reading is dated before the webhook that caused it (`item_ids`)."""
    asked_at = datetime.now(UTC)
    try:
        found = await read_levels(resources.shopify, shop.domain, sorted(item_ids))
    except ShopifyRefused as error:
        _log.warning("%s: stock at locations is left to the next sync: %s", shop.domain, error)
        return {}
    read_at = {item_id: max(asked_at, item_ids[item_id]) for item_id in found}
    return {
        item_id: ReadLevels(
            [_level(each, EventTime(each.updated_at or asked_at, read_at[item_id])) for each in levels],
            read_at[item_id],
        )
        for item_id, levels in found.items()
    }


def _level(snapshot: LevelSnapshot, time: EventTime) -> StockAtLocation:
    return StockAtLocation(snapshot.inventory_item_id, snapshot.location_id, snapshot.available, time)


async def _apply_stock(
    write: RegistryWrite,
    shop_id: int,
    updates: StockUpdates,
    found: Sequence[WishedVariant],
    read: Mapping[int, ReadLevels],
    states: Mapping[int, ItemState],
) -> SavedStock:
    session, items = write.session, {variant.inventory_item_id for variant in found}
    tracking = {key: each for key, (each, _) in updates.tracking.items() if key in items}
    levels = [
        each
        for (item_id, _), (each, _) in updates.levels.items()
        if item_id in items and not _is_before(each.time, states[item_id].levels_read_at)
    ]
    saved = SavedStock(
        await inventory_levels.save_levels(session, shop_id, levels),
        await inventory_levels.save_tracking(session, shop_id, list(tracking.values())),
        {each.inventory_item_id for each in levels if states[each.inventory_item_id].levels_read_at is None},
    )
    await inventory_levels.save_read(session, shop_id, read)
    changed = {item_id for item_id, _ in saved.levels} | read.keys()
    stock = {each.inventory_item_id: each for each in await inventory_levels.add_up(session, shop_id, changed)}
    variants = {variant.variant_id: variant.inventory_item_id for variant in found}
    counts = [
        Observation(number, stock[item_id].observed_at, {"inventory_quantity": stock[item_id].quantity})
        for number, item_id in variants.items()
        if item_id in stock
    ]
    flags = [
        Observation(number, tracking[item_id].time.observed_at, {"tracked": tracking[item_id].tracked})
        for number, item_id in variants.items()
        if item_id in saved.tracking
    ]
    for observations in (counts, flags):  # one after the other: each row is changed by one observation at a time
        await apply_observations(write, shop_id, observations)
    return saved


def _is_before(time: EventTime, read_at: datetime | None) -> bool:
    """Whether a reading at that time, which has all levels, is newer."""
    return read_at is not None and time.observed_at <= read_at
