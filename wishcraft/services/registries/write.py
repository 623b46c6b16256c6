"""`registry_write`: the one way to change what a guest can see of a registry.

It locks, bumps versions, invalidates, takes leases, commits, refills or forgets, and calls `Resources.after_write`, in
that order. tests/test_architecture.py names the modules that may do each of these. Decision 2 argues why the order
keeps the cache coherent, decision 11 why a write may go through while Redis does not answer, decision 23 how a deletion
ends, and decision 40 what goes in which round trip.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from wishcraft.cache.entries import Entry
from wishcraft.cache.keys import WRITE_LIMIT_SECONDS, SessionName
from wishcraft.cache.read_permit import PERMIT_SECONDS, Pending
from wishcraft.cache.registries import RefillResult
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry, access_level
from wishcraft.domain.callers import Caller
from wishcraft.domain.etags import allows_change
from wishcraft.errors import (
    NO_SUCH_REGISTRY,
    CacheUnavailable,
    DatabaseRefused,
    DatabaseUnavailable,
    NotAllowed,
    NotFound,
    changed_since,
)
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import refill, with_private_fields
from wishcraft.store import audit_log, pending_invalidations, private_fields, registries, registry_payloads, sessions
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.engine import WriteTransaction
from wishcraft.store.pending_invalidations import Announcement
from wishcraft.store.private_fields import VersionedFields
from wishcraft.store.registries import CurrentVersion, LockedRegistry, WriteSession
from wishcraft.store.statements import Call, Rows

OnCacheDown = Literal["announce", "refuse"]
"""Behaviour of a write while Redis does not answer: announce it and commit a second later, or raise and roll back."""
_INVALIDATIONS_PER_BATCH: Final = 200
_MOST_PENDING: Final = 10_000
"""Above it, a process uses no entry at all instead of listing those that may be outdated."""
_MARGIN_SECONDS: Final = 0.05
"""Beyond `PERMIT_SECONDS`: timers may fire a little early, and the clocks of two machines run at different rates."""
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class RegistryWrite:
    """A write in progress: its transaction, and what has changed so far."""

    transaction: WriteTransaction
    actor: Actor
    shopify_origin: str
    locked: dict[int, CurrentVersion] = field(default_factory=dict)
    found: list[Rows] = field(default_factory=list)
    """The rows of the statements that it began with."""
    later: list[Call] = field(default_factory=list)
    """Statements to be sent together with the new versions, in one round trip."""
    private: Call | None = None
    """Reads what only the registrant sees, after the commit and in its round trip."""
    refilled: Mapping[str, RefillResult] = field(default_factory=dict)
    """After the commit: what became of each registry's cache entry, by slug. One may be missing, never outdated."""
    fields: VersionedFields | None = None
    """After the commit: what `private` has found."""
    deleted: dict[str, int] = field(default_factory=dict)
    """After `bump_versions`: the versions that would follow those of what this write deletes, by slug."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values of the audit entry that `change_registry` adds: names and ids, no values that people typed."""
    action: str = ""
    """The action of that entry; empty for the one that was asked for."""
    is_empty: bool = False
    """Set by a block of `change_registry` that had nothing to change: no new version and no audit entry."""
    is_committed: bool = False
    limit_seconds: int = WRITE_LIMIT_SECONDS
    """How long the transaction may last after `bump_versions`."""
    _changed: dict[int, None] = field(default_factory=dict)

    @property
    def session(self) -> WriteSession:
        """A session of SQLAlchemy in the write's transaction."""
        return WriteSession(self.transaction.session)

    async def run(self, *calls: Call) -> list[Rows]:
        """Run these statements now, in one round trip; the rows of each.

        Their columns need casts: a migration that changes the type of one fails the write.
        """
        return await self.transaction.driver.run(calls)

    async def lock_more(self, registry_ids: AbstractSet[int]) -> None:
        """Lock registries that were found since the block began, in the order of their ids."""
        if late := list(registry_ids - self.locked.keys()):
            self.locked |= await registries.lock(self.session, self.actor.shop_id, late)

    def own_entry(self, slug: str) -> Entry | None:
        """After the commit: the registry's cache entry for its registrant; None if it was not filled."""
        outcome, entry = self.refilled.get(slug, (None, None))
        if entry is None or self.fields is None or outcome is not FillOutcome.FILLED:
            return None
        return with_private_fields(entry, self.fields)

    def changed(self, registry_id: int, action: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Note that what a guest can see of the registry changed: by an update, its creation or its deletion.

        Args:
            registry_id: A registry that this write has locked or created.
            action: Adds an audit entry, such as `item.changed`; none if empty.
            details: JSON values of the audit entry.
        """
        self._changed[registry_id] = None
        if action:
            self.later.append(audit_log.entry(self.actor, action, "registry", str(registry_id), details))

    async def bump_versions(self) -> dict[str, int]:
        """Raise the versions of what changed; by slug. For a deleted registry: its last version plus 1."""
        ids, shop_id = list(self._changed), self.actor.shop_id
        if not ids:
            return {}
        bump = registries.bump_versions(shop_id, ids, self.limit_seconds)
        *_, rows = await self.transaction.driver.run([*self.later, bump])
        bumped = registries.read_versions(rows)
        deleted = [self.locked[each] for each in ids if each not in bumped]
        self.deleted = {slug: version + 1 for slug, version in deleted}
        return dict(bumped.values()) | self.deleted

    async def end_deleted(self) -> dict[str, Announcement]:
        """End the grants of what was deleted, and announce that Redis is to forget it after the commit; by slug."""
        shop_id = self.actor.shop_id
        ended = await sessions.end_grants(self.session, shop_id, self.deleted)
        return await pending_invalidations.record_deletions(self.session, shop_id, self.deleted, ended)

    async def commit(self, slugs: Sequence[str] = ()) -> dict[str, CachedRegistry]:
        """Commit, and load these registries as they are then, in one round trip; by slug.

        Raises:
            DatabaseUnavailable: The transaction is rolled back, or its end is not known; or, with `is_committed`, the
                registries could not be loaded.
        """
        reads = [registry_payloads.find(self.actor.shop_id, slugs)] if slugs else []
        found = await self.transaction.driver.commit([*reads, self.private] if reads and self.private else reads)
        self.is_committed = True
        if found is None:
            raise DatabaseUnavailable("PostgreSQL did not answer after the commit")
        if len(found) > 1:
            self.fields = private_fields.read(found[1])
        return registry_payloads.read(found[0], self.shopify_origin) if found else {}


@asynccontextmanager
async def registry_write(
    resources: Resources,
    actor: Actor,
    registry_ids: Sequence[int] = (),
    *,
    on_cache_down: OnCacheDown,
    first: Sequence[Call] = (),
) -> AsyncIterator[RegistryWrite]:
    """Write to registries of the actor's shop in one transaction; leaving the block commits, an exception rolls back.

    Args:
        resources: The stores; `after_write` is called after the commit, whether or not the refill succeeded.
        actor: Who writes, in which shop.
        registry_ids: Registries to lock, in the order of their ids, before the block runs.
        on_cache_down: `announce` for people, who must not be refused for it; `refuse` for jobs, which are retried.
        first: Statements to run before the block, in the round trip that begins the transaction.

    Raises:
        CacheUnavailable: With `refuse`, and nothing was written.
    """
    breaker = resources.redis.breaker
    is_slow = on_cache_down == "announce" and breaker is not None and breaker.is_open
    locks = [registries.lock_each(actor.shop_id, registry_ids)] if registry_ids else []
    async with (
        resources.slow_writes if is_slow else nullcontext(),
        resources.db.write([*locks, *first]) as transaction,
    ):
        write = RegistryWrite(transaction, actor, resources.shopify_origin, found=transaction.first[len(locks) :])
        if locks:
            write.locked = registries.read_versions(transaction.first[0])
        yield write
        versions = await write.bump_versions()
        is_invalidated = await _invalidate(resources, actor.shop_id, versions, on_cache_down)
        deleted = await write.end_deleted() if write.deleted else {}
        # If Redis is silent, to wait for its leases too could take longer than the transaction may last.
        refilled = [slug for slug in versions if slug not in deleted] if is_invalidated else []
        await _commit(resources, write, refilled)
    if versions and (deleted or resources.after_write):
        await _finish(resources, actor.shop_id, versions, deleted)


async def _commit(resources: Resources, write: RegistryWrite, slugs: Sequence[str]) -> None:
    """Commit, and refill these registries: under leases taken before, with what the commit's round trip loads.

    Once the write has succeeded, no failure is raised.
    """
    try:
        if slugs:
            write.refilled = await resources.cache.refill(write.actor.shop_id, write.commit, slugs)
    except Exception as error:
        if not write.is_committed and not isinstance(error, CacheUnavailable):
            raise
        is_bug = not isinstance(error, (CacheUnavailable, DatabaseUnavailable))
        level = logging.ERROR if is_bug else logging.INFO
        message = "The cache was not refilled after a write; the next read or replay does it: %s"
        _log.log(level, message, error, exc_info=is_bug)
    if not write.is_committed:
        await write.commit()


async def _invalidate(
    resources: Resources, shop_id: int, versions: Mapping[str, int], on_cache_down: OnCacheDown
) -> bool:
    """Before the commit: invalidate in Redis, or announce it to all processes and wait until they must know.

    Returns:
        Whether Redis has answered.
    """
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
        return False
    return True


async def _finish(
    resources: Resources, shop_id: int, versions: Mapping[str, int], deleted: Mapping[str, Announcement]
) -> None:
    """After the commit: let Redis forget what was deleted, and call the hook. No failure is raised."""
    try:
        if deleted:
            await _replay(resources, shop_id, deleted)
    except (CacheUnavailable, DatabaseUnavailable, DatabaseRefused) as error:
        _log.info("Redis did not forget what a write deleted, replays do it: %s", error)
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
    resources: Resources, change: ChangeRequest, *reads: Call
) -> AsyncIterator[tuple[RegistryWrite, LockedRegistry]]:
    """Change the caller's own registry: `registry_write` for one row, after the checks on caller and If-Match.

    `reads` run once its row is locked; `RegistryWrite.found` has their rows.

    Raises:
        NotFound: The shop has no such registry, or the caller may not see it.
        NotAllowed: The caller may see it and is not its registrant.
        PreconditionFailed: Its ETag is not `if_match` (RFC 9110, strong comparison).
    """
    caller = change.caller
    actor = Actor(caller.shop_id, caller.name, change.origin, caller.acts_for)
    first = [registries.lock_one(caller.shop_id, change.slug), *reads]
    async with registry_write(resources, actor, on_cache_down="announce", first=first) as write:
        registry = _authorize(change, next(map(LockedRegistry._make, write.found.pop(0)), None))
        write.locked[registry.id] = CurrentVersion(registry.slug, registry.version)
        if registry.owner is not None:
            write.private = private_fields.find(caller.shop_id, registry.owner, change.slug)
        yield write, registry
        if not write.is_empty:
            write.changed(registry.id, write.action or change.action, write.details)


async def check_change(resources: Resources, change: ChangeRequest) -> None:
    """Raise what `change_registry` would raise now: call it before work for the caller outside the transaction."""
    async with resources.db.autocommit() as session:
        _authorize(change, await registries.find_one(session, change.caller.shop_id, change.slug))


def _authorize(change: ChangeRequest, registry: LockedRegistry | None) -> LockedRegistry:
    if registry is None or not change.caller.owns(registry.owner):
        if registry and access_level(registry.visibility, registry.status) in {AccessLevel.OPEN, AccessLevel.CODE}:
            raise NotAllowed("Only its registrant can change a registry.")
        raise NotFound(NO_SUCH_REGISTRY)
    if change.if_match is not None and not allows_change(change.if_match, registry.version):
        raise changed_since("The registry has", "it")
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
    rows = await resources.announcements.fetch(pending_invalidations.find_all(_MOST_PENDING + 1))
    return frozenset(rows) if len(rows) <= _MOST_PENDING else None


async def replay_invalidations(resources: Resources, *, batch_size: int = _INVALIDATIONS_PER_BATCH) -> int:
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
            batch = await pending_invalidations.find_batch(session, last, batch_size)
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
