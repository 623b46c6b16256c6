"""Checks a shop for violated invariants, repairs those that can be repaired safely, and counts the others."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from wishcraft.cache.entries import Entry
from wishcraft.cache.inspection import sample_slugs
from wishcraft.domain.batches import batches
from wishcraft.domain.invariants import PENDING_FOR, STUCK_FOR, UNSYNCED_FOR, WARNING_COUNTS, entry_matches
from wishcraft.domain.mail_references import MailKind
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.registries.reader import load_registries
from wishcraft.services.registries.write import registry_write, replace_entries, replay_invalidations
from wishcraft.services.shops.settings import has_outdated_entries, replace_outdated_entries
from wishcraft.store import audit_log, invariants, locks, pending_invalidations, registry_items
from wishcraft.store.audit_log import Actor
from wishcraft.store.outbox import sending_lock
from wishcraft.store.shops import ShopRef

ACTOR: Final = "check-invariants"
BATCH: Final = 200
"""Registries in one transaction, and cache entries in one comparison."""


async def check_shop(
    resources: Resources,
    shop: ShopRef,
    *,
    repair: bool,
    sample: int,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
    batch_size: int = BATCH,
) -> dict[str, int]:
    """Check the invariants of `domain.invariants`, and with `repair` restore what can be restored.

    `sample` of the shop's cache entries, picked at random, are compared with PostgreSQL; all else is checked in full.
    It may run twice at once and while guests buy: each repair counts again under the locks that it holds.

    Returns:
        Counts: `entries_checked`, and for each invariant the violations that were repaired and that are left.
        `changes` gets those that were repaired, and the `registries_refreshed`, which a change of the shop's settings
        left to do.

    Raises:
        CacheUnavailable: Redis does not answer; earlier repairs stay.
        RunStopped: Raised by the checkpoint; earlier batches stay.
    """
    counts = Counter(dict.fromkeys(("entries_checked", *WARNING_COUNTS), 0))
    changes = Changes() if changes is None else changes
    if repair and (replaced := await replace_outdated_entries(resources, shop.id, checkpoint)):
        changes["registries_refreshed"] += replaced
    counts.update(await _check_pending(resources, shop.id, changes, repair=repair))
    counts.update(await _check_purchases(resources, shop.id, batch_size, checkpoint, changes, repair=repair))
    counts.update(await _check_entries(resources, shop.id, sample, batch_size, checkpoint, changes, repair=repair))
    for kind in MailKind:
        counts["reminders_left"] += await _count_stuck_mails(resources, kind, shop.id)
    async with resources.db.repeatable_read() as session:
        counts["syncs_left"] = int(await invariants.is_unsynced(session, shop.id, UNSYNCED_FOR))
    return {**counts, **changes}


async def _check_pending(resources: Resources, shop_id: int, changes: Changes, *, repair: bool) -> dict[str, int]:
    """Pending invalidations that the API should have replayed by now."""
    overdue = await _find_pending(resources, shop_id, PENDING_FOR)
    if not overdue or not repair:
        return {"invalidations_left": len(overdue)}
    await replay_invalidations(resources)
    left = await _find_pending(resources, shop_id, PENDING_FOR)
    await _audit(resources, shop_id, "cache.invalidation_replayed", len(overdue - left))
    changes.update(invalidations_repaired=len(overdue - left))
    return {"invalidations_left": len(left)}


async def _find_pending(resources: Resources, shop_id: int, older: timedelta) -> set[str]:
    async with resources.db.repeatable_read() as session:
        return set(await pending_invalidations.find_slugs(session, shop_id, older))


async def _check_purchases(
    resources: Resources, shop_id: int, batch_size: int, checkpoint: Checkpoint, changes: Changes, *, repair: bool
) -> dict[str, int]:
    async with resources.db.repeatable_read() as session:
        found = await invariants.find_miscounted(session, shop_id)
    if not repair:
        return {"purchases_left": sum(found.values())}
    changes.update(purchases_repaired=0)
    for number, batch in enumerate(batches(list(found), batch_size)):
        await checkpoint(number * batch_size, len(found))
        changes.update(purchases_repaired=await _recount(resources, shop_id, batch))
    return {}


async def _recount(resources: Resources, shop_id: int, registry_ids: Sequence[int]) -> int:
    """Count these registries' purchases again in one transaction; how many items were wrong.

    It counts under the registries' row locks, which every writer of a purchase takes first: none is missed or counted
    twice.
    """
    async with registry_write(resources, Actor(shop_id, ACTOR), registry_ids, on_cache_down="refuse") as write:
        wrong = await registry_items.recount(write.session, shop_id, registry_ids)
        for registry_id, items in wrong.items():
            write.changed(registry_id, "purchases.recounted", {"items": [item._asdict() for item in items]})
    return sum(map(len, wrong.values()))


async def _check_entries(
    resources: Resources,
    shop_id: int,
    sample: int,
    batch_size: int,
    checkpoint: Checkpoint,
    changes: Changes,
    *,
    repair: bool,
) -> Counter[str]:
    counts = Counter[str]()
    slugs = await sample_slugs(resources.redis, shop_id, sample)
    for number, batch in enumerate(batches(slugs, batch_size)):
        await checkpoint(number * batch_size, len(slugs))
        wrong = await _find_wrong(resources, shop_id, batch)
        counts.update(entries_checked=len(batch))
        if repair:
            await _replace(resources, shop_id, wrong)
            changes.update(entries_repaired=len(wrong))
        else:
            counts.update(entries_left=len(wrong))
    return counts


async def _find_wrong(resources: Resources, shop_id: int, slugs: Sequence[str]) -> dict[str, int]:
    """Return the slugs whose cache entry differs from PostgreSQL, each with the version that it should have.

    The entries are read before PostgreSQL and again after it. A writer drops the entry before it commits, so an entry
    that a write outdated between the reads is gone at the second. One that is unchanged was wrong from the start.
    Registries with a pending invalidation are not counted.
    """
    before = await _read(resources, shop_id, slugs)
    current = await load_registries(resources, shop_id, list(before))
    suspects = [
        slug
        for slug, (header, body) in before.items()
        if not entry_matches(current.get(slug), header.version, header.access_level, header.owner, body)
    ]
    if not suspects or await has_outdated_entries(resources, shop_id):  # they are replaced soon
        return {}
    pending = await _find_pending(resources, shop_id, timedelta(0))
    after = await _read(resources, shop_id, suspects)
    return {
        slug: current[slug].version if slug in current else before[slug].header.version
        for slug in suspects
        if after.get(slug) == before[slug] and slug not in pending
    }


async def _read(resources: Resources, shop_id: int, slugs: Iterable[str]) -> dict[str, Entry]:
    slugs = list(slugs)
    entries = await asyncio.gather(*(resources.cache.get(shop_id, slug) for slug in slugs))
    return {slug: entry for slug, entry in zip(slugs, entries, strict=True) if entry}


async def _replace(resources: Resources, shop_id: int, versions: dict[str, int]) -> None:
    """Replace these entries, and record it."""
    if versions:
        await replace_entries(resources, shop_id, versions)
        await _audit(resources, shop_id, "cache.repaired", len(versions))


async def _count_stuck_mails(resources: Resources, kind: MailKind, shop_id: int) -> int:
    """Return how many mails are in the state `sending` for too long while no run sends those of the kind."""
    if not await _count_sending(resources, kind, shop_id):
        return 0
    async with locks.try_acquire(resources.db, sending_lock(kind), shop_id) as locked:  # else a run is sending
        return await _count_sending(resources, kind, shop_id) if locked else 0


async def _count_sending(resources: Resources, kind: MailKind, shop_id: int) -> int:
    async with resources.db.repeatable_read() as session:
        return await invariants.count_stuck_mails(session, kind, shop_id, STUCK_FOR)


async def _audit(resources: Resources, shop_id: int, action: str, registries: int) -> None:
    """Record in the audit log for how many registries this was done; a slug would name one that is deleted later."""
    if not registries:
        return
    async with resources.db.transaction() as session:
        actor = Actor(shop_id, ACTOR)
        await audit_log.record(session, actor, action, "shop", str(shop_id), {"registries": registries})
