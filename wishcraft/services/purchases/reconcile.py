"""Reads orders from Shopify, and applies what no webhook has brought."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from wishcraft.domain.orders import deleted_order
from wishcraft.errors import DatabaseRefused, PayloadInvalid, ShopClosed
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.purchases.order_updates import OrderUpdate, ReceivedSnapshot
from wishcraft.services.purchases.webhooks import find_effect
from wishcraft.services.registries.write import registry_write
from wishcraft.shopify.order_payloads import read_order
from wishcraft.shopify.orders import find_deleted_orders, read_changed_orders
from wishcraft.store import locks, orders, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.orders import OrderState
from wishcraft.store.shops import OrderReading, ShopRef

REACH: Final = timedelta(days=60)
"""Shopify gives older orders only to apps with the scope `read_all_orders`."""
OVERLAP: Final = timedelta(minutes=15)
"""Read again by each regular run: Shopify's search may find a change minutes after it."""
OVERDUE: Final = timedelta(hours=4)
"""After this, Shopify no longer tries a webhook."""
SETTLED: Final = timedelta(seconds=5)
"""`updated_at` has whole seconds: a state known this long after it includes every change of that second."""
ORDERS_PER_QUERY: Final = 250
"""A regular run asks in one query whether this many orders still exist: those asked about longest ago."""
_MARGIN: Final = timedelta(days=1)
"""Before `REACH` ends, after which Shopify says of every order that it does not exist."""
_YOUNGEST: Final = timedelta(hours=1)
"""Younger orders are not checked for deletion: Shopify may not find them yet."""
_CHANGES: Final = ("missed", "deleted", "overdue")
_ACTOR: Final = "reconcile-orders"
_log: Final = logging.getLogger(__name__)


async def reconcile_shop(
    resources: Resources,
    shop: ShopRef,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    dry_run: bool = False,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
    orders_per_query: int = ORDERS_PER_QUERY,
) -> dict[str, int]:
    """Read the shop's orders by the time of their last change, and apply the states that no webhook has brought.

    Idempotent, and safe beside consumers of webhooks: the newest state of an order decides. If another run reconciles
    the shop, this one returns at once.

    Args:
        resources: The stores and Shopify.
        shop: The shop to reconcile.
        since: Begin of the changes to read, at most `REACH` ago.
        until: Their end, at most now. Without both, what has changed since the last such run, which a run that was
            killed continues.
        dry_run: Write nothing, and count the orders that would change.
        checkpoint: Called between pages.
        changes: Filled with `missed`, `deleted` and `overdue`, and the ids of missed orders.
        orders_per_query: How many orders a regular run asks about, oldest question first.

    Returns:
        Counts: `orders` read; those `missed`, read in a newer state than webhooks had brought; those `deleted` in
        Shopify, found by regular runs alone; those whose webhook is `overdue`: it had not come `OVERDUE` after the
        change, counted once; `unreadable` ones, which stay as they are: they make no sense, or PostgreSQL refuses a
        value. Or only `already_being_reconciled`, or `closed_in_Shopify` (not paid for, or closed): no failure.

    Raises:
        ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: No usable response; earlier pages stay committed.
        CacheUnavailable: Redis does not answer, so a page cannot be invalidated; it is rolled back.
        RunStopped: Raised by the checkpoint.
    """
    done = Changes() if changes is None else changes
    async with locks.try_acquire(resources.db, "reconcile", shop.id) as locked:
        if not locked:
            return {"already_being_reconciled": 1}
        started = datetime.now(UTC)
        async with resources.db.autocommit() as session:
            reading = await shops.find_order_reading(session, shop.id)
        is_regular = since is None and until is None
        begin = max((_continue_from(reading) if is_regular else since) or started - REACH, started - REACH)
        period = (begin, min(until or started, started))
        try:
            counts = await _read_changes(
                resources, shop, reading, period, done, checkpoint, dry_run=dry_run, is_regular=is_regular
            )
            if is_regular:
                done["deleted"] += await _apply_deletions(resources, shop, started, orders_per_query, dry_run=dry_run)
        except ShopClosed as error:
            _log.warning("%s: its orders are not read: %s", shop.domain, error)
            return {"closed_in_Shopify": 1}
        if not dry_run:
            done["overdue"] += await _finish(resources, shop, started, is_regular=is_regular)
    return {"orders": counts["orders"], **{name: done[name] for name in _CHANGES}, "unreadable": counts["unreadable"]}


async def _read_changes(
    resources: Resources,
    shop: ShopRef,
    reading: OrderReading,
    period: tuple[datetime, datetime],
    done: Changes,
    checkpoint: Checkpoint,
    *,
    dry_run: bool,
    is_regular: bool,
) -> Counter[str]:
    """Read and apply the changes of this period; how many `orders` were read, and are `unreadable`."""
    counts = Counter(orders=0, unreadable=0)
    async for read_at, payloads in read_changed_orders(resources.shopify, shop.domain, *period):
        await checkpoint(counts["orders"], counts["orders"] + len(payloads))
        read = _read(shop, reading, read_at, payloads)
        counts.update(orders=len(payloads), unreadable=len(payloads) - len(read))
        counts["unreadable"] += await _apply(resources, shop, read, done, dry_run=dry_run, is_regular=is_regular)
    return counts


def _continue_from(reading: OrderReading) -> datetime:
    return reading.installed_at if reading.read_until is None else reading.read_until - OVERLAP


def _read(
    shop: ShopRef, reading: OrderReading, read_at: datetime, payloads: Sequence[dict[str, Any]]
) -> dict[int, ReceivedSnapshot]:
    """The orders that can be read, by id."""
    found: dict[int, ReceivedSnapshot] = {}
    for payload in payloads:
        try:
            snapshot = read_order(payload)
        except PayloadInvalid as error:
            _log.error("%s: the order %s cannot be read: %s", shop.domain, payload["id"], error)
            continue
        is_awaited = snapshot.updated_at >= reading.installed_at
        found[snapshot.id] = ReceivedSnapshot(snapshot, read_at, None, is_awaited)
    return found


async def _apply(
    resources: Resources,
    shop: ShopRef,
    read: Mapping[int, ReceivedSnapshot],
    done: Changes,
    *,
    dry_run: bool,
    is_regular: bool,
) -> int:
    """Apply what is not known, and count the orders that were missed; how many orders PostgreSQL refuses."""
    async with resources.db.autocommit() as session:
        states = await orders.find(session, shop.id, read)
    updates = {
        order_id: OrderUpdate(received)
        for order_id, received in read.items()
        if not received.snapshot.is_test and not _is_known(states.get(order_id), received)
    }
    refused = [] if dry_run else await _write(resources, shop, updates)
    if read and is_regular and not dry_run:
        last = max(received.snapshot.updated_at for received in read.values())
        async with resources.db.transaction() as session:
            await shops.record_order_reading(session, shop.id, last)
    missed = [
        order_id for order_id in updates if order_id not in refused and _is_missed(states.get(order_id), read[order_id])
    ]
    done["missed"] += len(missed)
    for order_id in () if dry_run else missed:
        done.add_example("orders that no webhook brought", str(order_id))
    return len(refused)


async def _write(resources: Resources, shop: ShopRef, updates: Mapping[int, OrderUpdate]) -> list[int]:
    """Apply the updates in one transaction, or each in its own if PostgreSQL refuses a value; the refused orders."""
    if not updates:
        return []
    try:
        effect = await find_effect(resources, shop, updates)
        registry_ids = sorted(effect.registry_ids)
        async with registry_write(resources, Actor(shop.id, _ACTOR), registry_ids, on_cache_down="refuse") as write:
            await effect.apply(write)
    except DatabaseRefused as error:
        if len(updates) > 1:
            alone = [await _write(resources, shop, {order_id: each}) for order_id, each in updates.items()]
            return [order_id for refused in alone for order_id in refused]
        _log.error("%s: PostgreSQL refuses a value of the order %s: %s", shop.domain, *updates, error)
        return list(updates)
    return []


async def _apply_deletions(resources: Resources, shop: ShopRef, started: datetime, most: int, *, dry_run: bool) -> int:
    """Ask Shopify for some of the orders that count, and give back what was bought by those that it no longer has."""
    async with resources.db.autocommit() as session:
        asked = await orders.find_live(session, shop.id, started - REACH + _MARGIN, started - _YOUNGEST, most)
    if not asked:
        return 0
    deleted = await find_deleted_orders(resources.shopify, shop.domain, asked)
    if deleted:  # a second answer must agree: what a deleted order bought is given back for good
        deleted = await find_deleted_orders(resources.shopify, shop.domain, deleted)
    if not dry_run:
        read_at = datetime.now(UTC)
        snapshots = {
            order_id: ReceivedSnapshot(deleted_order(order_id, read_at), read_at, None) for order_id in deleted
        }
        await _write(resources, shop, {order_id: OrderUpdate(each) for order_id, each in snapshots.items()})
        async with resources.db.transaction() as session:
            await orders.record_asked(session, shop.id, asked)
    return len(deleted)


def _is_known(state: OrderState | None, received: ReceivedSnapshot) -> bool:
    """Whether the order's state of this time, which counts whole seconds, is known for sure."""
    if state is None or state.updated_at is None:
        return False
    changed_at = received.snapshot.updated_at
    is_final = state.triggered_at is not None and state.triggered_at >= changed_at + SETTLED
    return state.updated_at > changed_at or (state.updated_at == changed_at and is_final)


def _is_missed(state: OrderState | None, received: ReceivedSnapshot) -> bool:
    return state is None or state.updated_at is None or state.updated_at < received.snapshot.updated_at


async def _finish(resources: Resources, shop: ShopRef, started: datetime, *, is_regular: bool) -> int:
    """Record that everything was read, and count the webhooks that have become overdue."""
    async with resources.db.transaction() as session:
        overdue = await orders.take_overdue(session, shop.id, started - OVERDUE)
        if is_regular:
            await shops.record_order_reading(session, shop.id, started)
    if overdue:
        resources.counters.count("webhooks_overdue_total", overdue, shop=shop.domain)
        _log.warning("%s: Shopify sent no webhook within four hours about %d orders", shop.domain, overdue)
    return overdue
