"""Brings the items of a shop's registries in step with what Shopify says of their variants."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Final, TypeAlias

from wishcraft.domain.batches import batches
from wishcraft.domain.inventory import StockLevel, VariantReading, prefers_bulk, stock_level
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint, no_checkpoint
from wishcraft.services.registries.warm import find_due, refill
from wishcraft.services.registries.write import registry_write
from wishcraft.shopify.variants import MAX_IDS, POINTS_PER_VARIANT, bulk_read_variants, read_variants
from wishcraft.store import locks, registries, registry_items, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.registry_items import Readings
from wishcraft.store.shops import ShopRef

Wished: TypeAlias = "array[int]"
"""Ids of variants, in order: an array, because a shop may have a million."""
Batch = tuple[datetime, Readings]
"""Readings, and a moment before Shopify was asked for them."""

LOWEST_RESTORE_RATE: Final = 100
"""Points per second of the smallest plan, taken until Shopify has said more: https://shopify.dev/docs/api/usage/limits."""
_ACTOR: Final = "sync-inventory"
REFILLED_WITHIN: Final = timedelta(hours=1)
"""How far back a sync looks for entries that a killed writer left out: some runs; warming finds older ones."""
REGISTRIES_PER_WRITE: Final = 200
"""Keeps a write far below its time limit and its row locks short."""


async def sync_shop(
    resources: Resources, shop: ShopRef, *, dry_run: bool = False, checkpoint: Checkpoint = no_checkpoint
) -> dict[str, int]:
    """Read every variant that the shop's active registries wish for, and write what changed.

    A second run right after writes nothing. With `dry_run` nothing is written at all. While another process syncs
    the shop there is nothing to do: it spends the shop's points, once is enough.

    Returns:
        Counts: `variants` read, of them `low_stock`, `out_of_stock` and `deleted`; `items_changed`, and the
        `registries_touched` by that (with `dry_run`: that would be touched). Or `already_being_synced` alone.

    Raises:
        ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: Shopify gave no usable answer; earlier batches stand.
        CacheUnavailable: Redis is away; nothing is written that Redis was not told of.
    """
    async with locks.try_acquire(resources.db, "sync", shop.id) as mine:
        if not mine:
            return {"already_being_synced": 1}
        if not dry_run:
            await _refill_what_died(resources, shop.id)
        counts = await _sync(resources, shop, checkpoint, dry_run=dry_run)
        if not dry_run:
            async with resources.db.transaction() as session:
                await shops.record_sync(session, shop.id)
        return counts


async def _refill_what_died(resources: Resources, shop_id: int) -> None:
    """Fill what a writer that was killed between its commit and its refill has left out of the cache."""
    async with resources.db.repeatable_read() as session:
        changed = await registries.find_versions_changed(session, shop_id, REFILLED_WITHIN)
    for batch in batches(changed, REGISTRIES_PER_WRITE):
        await refill(resources, shop_id, await find_due(resources, shop_id, batch))


async def _sync(resources: Resources, shop: ShopRef, checkpoint: Checkpoint, *, dry_run: bool) -> dict[str, int]:
    counts = Counter(variants=0, low_stock=0, out_of_stock=0, deleted=0, items_changed=0)
    touched: set[int] = set()
    async with resources.db.repeatable_read() as session:
        wished = await registry_items.find_variants(session, shop.id)
    async for observed_at, readings in _read(resources, shop, wished):
        await checkpoint(counts["variants"], len(wished))
        counts.update(variants=len(readings), **_stock_counts(readings, shop.settings.low_stock_threshold))
        async with resources.db.repeatable_read() as session:
            changed = await registry_items.find_changed_registries(session, shop.id, readings, observed_at)
        for batch in batches(changed, REGISTRIES_PER_WRITE):
            written = () if dry_run else await _write(resources, shop.id, batch, readings, observed_at)
            counts.update(items_changed=len(written))
            touched.update(batch if dry_run else written)
    return {**counts, "registries_touched": len(touched)}


async def _read(resources: Resources, shop: ShopRef, wished: Wished) -> AsyncIterator[Batch]:
    """What Shopify says of the wished variants.

    The first batch is read by id in any case: with it Shopify tells how fast this shop's points come back.
    """
    first, rest = wished[:MAX_IDS], wished[MAX_IDS:]
    async for batch in _read_by_id(resources, shop, first):
        yield batch
    read_rest = _read_in_bulk if _is_bulk_better(resources, shop, len(rest)) else _read_by_id
    async for batch in read_rest(resources, shop, rest):
        yield batch


def _is_bulk_better(resources: Resources, shop: ShopRef, variants: int) -> bool:
    points = variants * POINTS_PER_VARIANT
    throttle = resources.shopify.throttle_status(shop.domain)
    if throttle is None:  # Shopify left out what it says with every answer
        return prefers_bulk(points, LOWEST_RESTORE_RATE)
    return prefers_bulk(points - throttle.currently_available, throttle.restore_rate)


async def _read_by_id(resources: Resources, shop: ShopRef, wished: Wished) -> AsyncIterator[Batch]:
    for ids in batches(wished, MAX_IDS):
        observed_at = datetime.now(UTC)
        yield observed_at, await read_variants(resources.shopify, shop.domain, ids)


async def _read_in_bulk(resources: Resources, shop: ShopRef, wished: Wished) -> AsyncIterator[Batch]:
    """Reads the shop's whole catalogue, keeps what is wished for, and takes what is not in it as deleted."""
    observed_at = datetime.now(UTC)
    unseen = bytearray(b"\1") * len(wished)
    readings: dict[int, VariantReading | None] = {}
    async for reading in bulk_read_variants(resources.shopify, shop.domain):
        place = bisect_left(wished, reading.variant_id)
        if place < len(wished) and wished[place] == reading.variant_id and unseen[place]:
            unseen[place] = False
            readings[reading.variant_id] = reading
        if len(readings) == MAX_IDS:
            yield observed_at, readings
            readings = {}
    yield observed_at, readings
    for deleted in batches(array("q", compress(wished, unseen)), MAX_IDS):
        yield observed_at, dict.fromkeys(deleted)


async def _write(
    resources: Resources, shop_id: int, registry_ids: Sequence[int], readings: Readings, observed_at: datetime
) -> list[int]:
    """Write what the readings change in these registries.

    Returns:
        The registry's id for each item written.
    """
    async with registry_write(resources, Actor(shop_id, _ACTOR), registry_ids, on_cache_down="refuse") as write:
        written = await registry_items.apply_readings(write.session, shop_id, registry_ids, readings, observed_at)
        for registry_id in set(written):
            await write.changed(registry_id)
    return written


def _stock_counts(readings: Readings, low_stock_threshold: int) -> dict[str, int]:
    present = [reading for reading in readings.values() if reading is not None]
    levels = Counter(stock_level(each.inventory_quantity, each.tracked, low_stock_threshold) for each in present)
    return {
        "low_stock": levels[StockLevel.LOW],
        "out_of_stock": levels[StockLevel.OUT],
        "deleted": len(readings) - len(present),
    }
