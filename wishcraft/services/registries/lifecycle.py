"""Creates, changes and archives registries on behalf of their registrants."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.cache.keys import WRITE_LIMIT_SECONDS, SessionName
from wishcraft.domain.callers import Caller
from wishcraft.domain.registries import MOST_REGISTRIES_PER_CUSTOMER, RegistryStatus, Visibility, make_slug
from wishcraft.errors import Invalid, LimitReached, NotAllowed
from wishcraft.resources import Resources
from wishcraft.services.registries.write import Change, bring_in_step, change_registry, mark, replay
from wishcraft.store import audit_log, idempotency, registries, sessions
from wishcraft.store.audit_log import Origin
from wishcraft.store.idempotency import IdempotencyKey
from wishcraft.store.registries import LockedRegistry, NewRegistry
from wishcraft.store.schema import ShopSettings

_SLUG_BYTES: Final = 10
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's smallest choice for argon2id: some 20 ms and 19 MiB for each access code."""
_HASHING: Final = asyncio.Semaphore(2)
"""More at once would take the processor from the readers."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a registrant asks for: columns of `registries` by name, and the access code in the clear."""

    values: dict[str, Any]
    access_code: str | None = None


async def create_registry(
    resources: Resources, caller: Caller, draft: Draft, *, claim: IdempotencyKey | None, origin: Origin
) -> str:
    """Create a registry for the caller's customer; its slug. A repeated claim makes no second one.

    Raises:
        NotAllowed: The caller is no customer, nor acts for one.
        Conflict: The claim's key was sent with another request.
        LimitReached: The customer has as many as they may.
        Invalid: A password that has no access code, or that the shop does not allow.
    """
    if caller.customer_id is None:
        raise NotAllowed("A registry belongs to a customer: log in, or name the customer in X-Customer-Id.")
    code_hash = await hash_code(draft.access_code) if draft.access_code else None
    async with resources.db.transaction() as session:
        if claim and (earlier := await idempotency.acquire_key(session, claim)):
            return replay(earlier)
        settings, registered = await registries.lock_shop(session, caller.shop_id, caller.customer_id)
        if registered >= MOST_REGISTRIES_PER_CUSTOMER:
            raise LimitReached(
                f"A customer may have {MOST_REGISTRIES_PER_CUSTOMER} registries, archived ones included."
            )
        _check_code(settings, draft.values["visibility"], has_code=code_hash is not None)
        slug = make_slug(draft.values["title"], draft.values["event_type"], secrets.token_bytes(_SLUG_BYTES))
        new = NewRegistry(slug=slug, access_code_hash=code_hash, customer_id=caller.customer_id, **draft.values)
        registry_id = await registries.add(session, caller.shop_id, new)
        await audit_log.record(
            session, caller.shop_id, caller.name, "registry.created", "registry", str(registry_id), origin=origin
        )
        if claim:
            await idempotency.complete(session, claim, slug)
        await registries.limit_time(session, WRITE_LIMIT_SECONDS)
        marked = await mark(resources, session, caller.shop_id, {slug: 1}, registry_id)
    await bring_in_step(resources, caller.shop_id, slug, marked=marked)
    return slug


async def update_registry(resources: Resources, change: Change, draft: Draft) -> None:
    """Write what the draft says of the registry; what it does not name stays.

    A new access code ends the grants that the old one gave.

    Raises:
        RequestRefused: As `change_registry` does; and Invalid, as `create_registry` does.
    """
    code_hash = await hash_code(draft.access_code) if draft.access_code else None

    async def apply(session: AsyncSession, registry: LockedRegistry) -> list[str]:
        visibility = draft.values.get("visibility", registry.visibility)
        if code_hash or "visibility" in draft.values:
            _check_code(registry.settings, visibility, has_code=registry.has_code or code_hash is not None)
        values = draft.values | ({"access_code_hash": code_hash} if code_hash else {})
        await registries.change(session, change.caller.shop_id, registry.id, values)
        return await sessions.end_grants(session, change.caller.shop_id, registry.slug) if code_hash else []

    ended = await change_registry(resources, change, apply)
    if ended:
        await resources.sessions.try_delete([SessionName(change.caller.shop_id, each) for each in ended])


async def archive_registry(resources: Resources, change: Change) -> None:
    """Take the registry from everybody's view but its registrant's; nothing is deleted.

    Raises:
        RequestRefused: As `change_registry` does.
    """
    await update_registry(resources, change, Draft({"status": RegistryStatus.ARCHIVED}))


async def hash_code(code: str) -> str:
    """What is stored of an access code."""
    async with _HASHING:
        return await asyncio.to_thread(_HASHER.hash, code)


async def is_code(code: str, code_hash: str) -> bool:
    """Whether this is the access code."""

    def verify() -> bool:
        try:
            return _HASHER.verify(code_hash, code)
        except (VerificationError, InvalidHashError):
            return False

    async with _HASHING:
        return await asyncio.to_thread(verify)


def _check_code(settings: ShopSettings, visibility: Visibility, *, has_code: bool) -> None:
    if visibility is not Visibility.PASSWORD:
        return
    if not settings.password_protection:
        raise Invalid("This shop has no password-protected registries.")
    if not has_code:
        raise Invalid("A password-protected registry needs an access_code.")
