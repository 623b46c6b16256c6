"""`registry_write`: the one way to change what a guest can see of a registry.

It locks, bumps versions, invalidates, commits, refills or forgets, and calls `Resources.after_write`, in that order;
no other module does any of these, which a test enforces. Decision 2 argues why the order keeps the cache coherent,
decision 11 why a write may go through while Redis does not answer, and decision 23 how a deletion ends.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from wishcraft.cache.entries import Entry
from wishcraft.cache.keys import WRITE_LIMIT_SECONDS, SessionName
from wishcraft.cache.read_permit import PERMIT_SECONDS, Pending
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.domain.etags import allows_change
from wishcraft.domain.registries import access_level
from wishcraft.errors import (
    CacheUnavailable,
    DatabaseRejected,
    DatabaseUnavailable,
    NotAllowed,
    NotFound,
    PreconditionFailed,
)
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import refill
from wishcraft.store import audit_log, pending_invalidations, registries, sessions
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.pending_invalidations import Announcement
from wishcraft.store.registries import CurrentVersion, LockedRegistry, WriteSession

OnCacheDown = Literal["announce", "refuse"]
"""What a write does while Redis does not answer: announce it and commit a second later, or raise and roll back."""
_INVALIDATIONS_PER_BATCH: Final = 200
_MOST_PENDING: Final = 10_000
"""Above it, a process uses no entry at all instead of listing those that may be outdated."""
_MARGIN_SECONDS: Final = 0.05
"""Beyond `PERMIT_SECONDS`: timers may fire a little early, and the clocks of two machines run at different rates."""
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class RegistryWrite:
    """A write in progress: its session, and what has changed so far."""

    session: WriteSession
    actor: Actor
    locked: dict[int, CurrentVersion] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """After the commit: the cache entries that the refill filled, by slug. One may be missing, never outdated."""
    deleted: dict[str, int] = field(default_factory=dict)
    """After `bump_versions`: the versions that would follow those of what this write deletes, by slug."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values of the audit entry that `change_registry` adds: names and ids, no values that people typed."""
    action: str = ""
    """The action of that entry; empty for the one that was asked for."""
    is_empty: bool = False
    """Set by a block of `change_registry` that found nothing to change: no new version and no audit entry."""
    _changed: dict[int, None] = field(default_factory=dict)

    async def changed(self, registry_id: int, action: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Note that what a guest can see of the registry changed: by an update, its creation or its deletion.

        Args:
            registry_id: A registry that this write has locked or created.
            action: Adds an audit entry, such as `item.changed`; none if empty.
            details: JSON values of the audit entry.
        """
        self._changed[registry_id] = None
        if action:
            await audit_log.record(self.session, self.actor, action, "registry", str(registry_id), details)

    async def bump_versions(self) -> dict[str, int]:
        """Raise the versions of what changed; by slug. For a deleted registry: its last version plus 1."""
        ids, shop_id = list(self._changed), self.actor.shop_id
        if not ids:
            return {}
        bumped = await registries.bump_versions(self.session, shop_id, ids, WRITE_LIMIT_SECONDS)
        deleted = [self.locked[each] for each in ids if each not in bumped]
        self.deleted = {slug: version + 1 for slug, version in deleted}
        return dict(bumped.values()) | self.deleted

    async def end_deleted(self) -> dict[str, Announcement]:
        """End the grants of what was deleted, and announce that Redis is to forget it after the commit; by slug."""
        shop_id = self.actor.shop_id
        ended = await sessions.end_grants(self.session, shop_id, self.deleted)
        return await pending_invalidations.record_deletions(self.session, shop_id, self.deleted, ended)


@asynccontextmanager
async def registry_write(
    resources: Resources, actor: Actor, registry_ids: Sequence[int] = (), *, on_cache_down: OnCacheDown
) -> AsyncIterator[RegistryWrite]:
    """Write to registries of the actor's shop in one transaction; leaving the block commits, an exception rolls back.

    Args:
        resources: The stores; `after_write` is called after the commit, whether or not the refill succeeded.
        actor: Who writes, in which shop.
        registry_ids: Registries to lock, in the order of their ids, before the block runs.
        on_cache_down: `announce` for people, who must not be refused for it; `refuse` for jobs, which are retried.

    Raises:
        CacheUnavailable: With `refuse`, and nothing was written.
    """
    breaker = resources.redis.breaker
    is_slow = on_cache_down == "announce" and breaker is not None and breaker.is_open
    async with resources.slow_writes if is_slow else nullcontext(), resources.db.transaction() as session:
        write = RegistryWrite(WriteSession(session), actor)
        if registry_ids:
            write.locked = await registries.lock(write.session, actor.shop_id, registry_ids)
        yield write
        versions = await write.bump_versions()
        await _invalidate(resources, actor.shop_id, versions, on_cache_down)
        deleted = await write.end_deleted() if write.deleted else {}
    if versions:
        write.entries = await _finish(resources, actor.shop_id, versions, deleted)


async def _invalidate(
    resources: Resources, shop_id: int, versions: Mapping[str, int], on_cache_down: OnCacheDown
) -> None:
    """Before the commit: invalidate in Redis, or announce it to all processes and wait until they must know."""
    try:
        await resources.cache.invalidate(shop_id, versions)
    except CacheUnavailable:
        if on_cache_down == "refuse":
            raise
        # Not in the write's own transaction: processes must see it before the commit, and if there is none, it is
        # replayed all the same, and costs a reload.
        async with resources.announcements.autocommit() as session:
            await pending_invalidations.record(session, shop_id, versions)
        await asyncio.sleep(PERMIT_SECONDS + _MARGIN_SECONDS)


async def _finish(
    resources: Resources, shop_id: int, versions: Mapping[str, int], deleted: Mapping[str, Announcement]
) -> dict[str, Entry]:
    """After the commit: bring the cache into step and call the hook. The write has succeeded: no failure is raised."""
    try:
        if deleted:
            await _replay(resources, shop_id, deleted)
        left = [slug for slug in versions if slug not in deleted]
        return await refill(resources, shop_id, left) if left else {}
    except (CacheUnavailable, DatabaseUnavailable, DatabaseRejected) as error:
        _log.info("The cache was not brought into step after a write, readers and replays do it: %s", error)
        return {}
    finally:
        if resources.after_write:
            try:
                await resources.after_write(shop_id, versions)
            except Exception:  # noqa: BLE001  it is logged
                _log.exception("The hook after a write failed; the write is committed")


class ChangeRequest(NamedTuple):
    """A caller's request to change a registry of their own."""

    caller: Caller
    slug: str
    action: str
    """As the audit log names it, such as `item.added`."""
    if_match: str | None = None
    """The value of If-Match; None makes the change unconditional."""
    origin: Origin = Origin()


@asynccontextmanager
async def change_registry(
    resources: Resources, change: ChangeRequest
) -> AsyncIterator[tuple[RegistryWrite, LockedRegistry]]:
    """Change the caller's own registry: `registry_write` for one row, after the checks on caller and If-Match.

    Raises:
        NotFound: The shop has no such registry, or the caller may not see it.
        NotAllowed: The caller may see it and is not its registrant.
        PreconditionFailed: Its ETag is not `if_match` (RFC 9110, strong comparison).
    """
    caller = change.caller
    actor = Actor(caller.shop_id, caller.name, change.origin, caller.acts_for)
    async with registry_write(resources, actor, on_cache_down="announce") as write:
        registry = _authorize(change, await registries.lock_one(write.session, caller.shop_id, change.slug))
        write.locked[registry.id] = CurrentVersion(registry.slug, registry.version)
        yield write, registry
        if not write.is_empty:
            await write.changed(registry.id, write.action or change.action, write.details)


async def check_change(resources: Resources, change: ChangeRequest) -> None:
    """Raise what `change_registry` would raise now: call it before work for the caller outside the transaction."""
    async with resources.db.autocommit() as session:
        _authorize(change, await registries.find_one(session, change.caller.shop_id, change.slug))


def _authorize(change: ChangeRequest, registry: LockedRegistry | None) -> LockedRegistry:
    if registry is None or not change.caller.owns(registry.owner):
        if registry and access_level(registry.visibility, registry.status) in {AccessLevel.OPEN, AccessLevel.CODE}:
            raise NotAllowed("Only its registrant can change a registry.")
        raise NotFound("The shop has no such registry.")
    if change.if_match is not None and not allows_change(change.if_match, registry.version):
        raise PreconditionFailed(
            "The registry has changed since, or If-Match is not an ETag as it was sent, without W/: read it again."
        )
    return registry


async def replace_entries(resources: Resources, shop_id: int, versions: Mapping[str, int]) -> None:
    """Drop cache entries that differ from PostgreSQL, by slug, and refill them at no lower than these versions.

    A registry without an entry gets none; but a load of it that is under way does not fill one either.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    held = await resources.cache.headers(shop_id, versions)
    await resources.cache.invalidate(shop_id, versions)
    await refill(resources, shop_id, list(held))


async def find_pending(resources: Resources) -> Pending | None:
    """The registries whose entries in Redis may be outdated; None if they are too many to be listed.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with resources.announcements.autocommit() as session:
        return await pending_invalidations.find_all(session, _MOST_PENDING)


async def replay_invalidations(resources: Resources) -> int:
    """Inform Redis of all pending invalidations and deletions; how many invalidations it had missed.

    Their writers may not have committed yet, or never will: this invalidates as they would have done themselves. A row
    that another transaction holds stays pending, and is replayed again.

    Raises:
        CacheUnavailable: Redis does not answer; what it was not informed of stays pending.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    replayed, last = 0, (0, "")
    failure: CacheUnavailable | None = None
    while True:
        async with resources.announcements.autocommit() as session:
            batch = await pending_invalidations.find_batch(session, last, _INVALIDATIONS_PER_BATCH)
        if not batch:
            if failure:
                raise failure
            return replayed
        for shop_id, announced in batch.items():
            last = (shop_id, list(announced)[-1])  # in PostgreSQL's order
            try:
                await _replay(resources, shop_id, announced)
            except CacheUnavailable as error:  # one shop's error must not leave the others' entries unused
                failure = error
                continue
            replayed += sum(each.grants is None for each in announced.values())  # a deletion may be under way


async def _replay(resources: Resources, shop_id: int, announced: Mapping[str, Announcement]) -> None:
    """Inform Redis of these pending invalidations and committed deletions, by slug; they are no longer pending then.

    Raises:
        CacheUnavailable: Redis does not answer; they stay pending.
    """
    deleted = {slug: each.grants for slug, each in announced.items() if each.grants is not None}
    versions = {slug: each.version for slug, each in announced.items() if slug not in deleted}
    await resources.cache.invalidate(shop_id, versions)
    await resources.cache.forget(shop_id, deleted)
    await resources.sessions.delete([SessionName(shop_id, each) for grants in deleted.values() for each in grants])
    async with resources.announcements.autocommit() as session:
        await pending_invalidations.delete(session, shop_id, announced)
