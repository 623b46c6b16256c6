"""How a registrant's registry is changed: one transaction, on condition of what they saw, with the cache in step.

If Redis cannot be told of a change before it is committed, the registry's row says so, and whoever finds Redis
answering again tells it first. Until then an old entry may be in it: see decision 0011.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.cache.keys import WRITE_LIMIT_SECONDS
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.domain.etags import allows_change
from wishcraft.domain.registries import access_level
from wishcraft.errors import CacheUnavailable, ChangedSince, Conflict, NotAllowed, NotFound
from wishcraft.resources import Resources
from wishcraft.services.registries.warm import refill
from wishcraft.store import audit_log, registries
from wishcraft.store.audit_log import Origin
from wishcraft.store.idempotency import StoredResult
from wishcraft.store.registries import LockedRegistry

_UNMARKED_AT_ONCE: Final = 200
_log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Change(NamedTuple):
    """Who changes which registry, on which condition, and what the journal calls it."""

    caller: Caller
    slug: str
    action: str
    if_match: str | None = None
    """What the registry's tag must be; None for what needs no condition."""
    origin: Origin = Origin()


async def change_registry(
    resources: Resources, change: Change, apply: Callable[[AsyncSession, LockedRegistry], Awaitable[T]]
) -> T:
    """Let `apply` change the caller's own registry; what it returns.

    Raises:
        NotFound: There is no such registry, or the caller may not see it.
        NotAllowed: It is not the caller's own.
        ChangedSince: It is not as `if_match` says.
    """
    shop_id = change.caller.shop_id
    async with resources.db.transaction() as session:
        registry = await registries.lock_one(session, shop_id, change.slug)
        _admit(change, registry)
        assert registry is not None  # noqa: S101  or it had not been admitted
        result = await apply(session, registry)
        name, action = change.caller.name, change.action
        await audit_log.record(session, shop_id, name, action, "registry", str(registry.id), origin=change.origin)
        versions = await registries.bump_versions(session, shop_id, [registry.id], WRITE_LIMIT_SECONDS)
        marked = await mark(resources, session, shop_id, versions, registry.id)
    await bring_in_step(resources, shop_id, change.slug, marked=marked)
    return result


async def check_change(resources: Resources, change: Change) -> None:
    """Raise what `change_registry` would raise now: before anything is asked of others on the caller's behalf."""
    async with resources.db.autocommit() as session:
        _admit(change, await registries.find_one(session, change.caller.shop_id, change.slug))


def replay(earlier: StoredResult) -> str:
    """What an earlier request with the same key made.

    Raises:
        Conflict: It asked for something else.
    """
    if not earlier.same_request:
        raise Conflict("This Idempotency-Key was sent with another request: use a new one for each.")
    return earlier.created


def _admit(change: Change, registry: LockedRegistry | None) -> None:
    if registry is None or not change.caller.owns(registry.owner):
        if registry and access_level(registry.visibility, registry.status) in {AccessLevel.OPEN, AccessLevel.CODE}:
            raise NotAllowed("Only its registrant can change a registry.")
        raise NotFound("The shop has no such registry.")
    if change.if_match is not None and not allows_change(change.if_match, registry.version):
        raise ChangedSince("The registry has changed since: read it again, and try with its new ETag.")


async def mark(
    resources: Resources, session: AsyncSession, shop_id: int, versions: Mapping[str, int], registry_id: int
) -> bool:
    """Tell the cache what is about to be committed, or the database that the cache does not know. The last step.

    Returns:
        Whether the cache knows; `bring_in_step` must be told after the commit.
    """
    try:
        await resources.cache.invalidate(shop_id, versions)
    except CacheUnavailable:
        await registries.note_unmarked(session, shop_id, [registry_id])
        return False
    return True


async def bring_in_step(resources: Resources, shop_id: int, slug: str, *, marked: bool) -> None:
    """Fill the cache after a commit; if that fails, the next reader does it.

    What the cache was not told of it is told now, or once it answers: a recovery that is under way may have looked
    for such changes before this one was committed, so it has to look again.
    """
    if not marked and resources.redis.breaker:
        resources.redis.breaker.open()
    try:
        await refill(resources, shop_id, [slug])
    except CacheUnavailable:
        _log.info("Redis did not answer after a change; the next reader fills it")


async def mark_what_was_not(resources: Resources) -> int:
    """Tell the cache of the changes that were committed while it did not answer; how many.

    Raises:
        CacheUnavailable: It still does not; they stay written down.
    """
    marked = 0
    while True:
        async with resources.db.transaction() as session:
            found = await registries.lock_unmarked(session, _UNMARKED_AT_ONCE)
            for shop_id, versions in found.items():
                await resources.cache.invalidate(shop_id, versions)
                await registries.note_marked(session, shop_id, list(versions))
        marked += sum(map(len, found.values()))
        if not found:
            return marked


async def recover(resources: Resources) -> None:
    """What must be done when Redis answers again, before it is read: it may hold what was changed meanwhile.

    Raises:
        CacheUnavailable: It does not answer after all.
    """
    try:
        if marked := await mark_what_was_not(resources):
            _log.warning("Redis was told of %d changes that it had missed", marked)
    except CacheUnavailable:
        raise
    except Exception:  # noqa: BLE001  without PostgreSQL, readers need Redis all the more
        _log.exception("What Redis missed could not be read from PostgreSQL; the next job that warms finds it")
