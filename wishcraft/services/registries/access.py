"""Lets guests into password-protected registries: the access code gives a grant, the grant opens the registry."""

import hashlib
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.cache.keys import SessionName
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.domain.rate_limits import Policy
from wishcraft.domain.registries import access_level
from wishcraft.errors import CacheUnavailable, Conflict, NotAllowed, NotFound, TooManyTries
from wishcraft.resources import Resources
from wishcraft.services.registries.lifecycle import verify_code
from wishcraft.store import registries, sessions

GRANT_LIFE: Final = timedelta(hours=24)
KNOWN_LIFE: Final = timedelta(minutes=10)
TRIES_OF_ONE: Final = Policy("unlock", 10, 600)
TRIES_OF_ALL: Final = Policy("unlock-registry", 200, 600)
"""Guessing from many addresses is slowed down too, at a rate that no wedding's guests reach."""
_TOKEN_BYTES: Final = 32


class Grant(NamedTuple):
    """What the guest shows from now on; only its digest is stored."""

    token: str
    expires_at: datetime


async def unlock(resources: Resources, caller: Caller, slug: str, code: str) -> Grant:
    """A grant for whoever knows the access code.

    Raises:
        NotFound: There is no such registry for guests.
        Conflict: It needs no code.
        NotAllowed: The code is wrong.
        TooManyTries: This guest, or all together, tried too often.
    """
    _count_try(resources, caller, slug)
    async with resources.db.autocommit() as session:
        found = await registries.find_access(session, caller.shop_id, slug)
    needed = access_level(found.visibility, found.status) if found else AccessLevel.ABSENT
    if found is None or needed in {AccessLevel.ABSENT, AccessLevel.OWNER}:
        raise NotFound("The shop has no such registry.")
    if needed is AccessLevel.OPEN or found.access_code_hash is None:
        raise Conflict("The registry needs no access code.")
    if not await verify_code(code, found.access_code_hash):
        raise NotAllowed("The access code is wrong.")
    grant = Grant(secrets.token_urlsafe(_TOKEN_BYTES), datetime.now(UTC) + GRANT_LIFE)
    name = SessionName(caller.shop_id, _session_id(grant.token))
    async with resources.db.transaction() as session:
        if await registries.find_access(session, caller.shop_id, slug, lock=True) != found:
            raise NotAllowed("The access code was changed just now.")
        await sessions.add_grant(session, *name, slug, grant.expires_at)
    with suppress(CacheUnavailable):  # the first read asks PostgreSQL then
        await resources.sessions.put(name, slug, _known_until(grant.expires_at))
    return grant


async def is_granted(resources: Resources, shop_id: int, slug: str, token: str) -> bool:
    """Whether the token opens the registry: Redis says so, or PostgreSQL."""
    name = SessionName(shop_id, _session_id(token))
    with suppress(CacheUnavailable):
        known = await resources.sessions.get(name)
        if known is not None:
            return known == slug
    async with resources.db.autocommit() as session:
        found = await sessions.find_grant(session, *name)
    if found is None:
        return False
    with suppress(CacheUnavailable):
        await resources.sessions.put(name, found[0], _known_until(found[1]))
    return found[0] == slug


def _count_try(resources: Resources, caller: Caller, slug: str) -> None:
    registry = f"{caller.shop_id}:{slug}"
    tries = [(TRIES_OF_ALL, registry)]
    if not caller.speaks_for_many:
        tries.append((TRIES_OF_ONE, f"{registry}:{caller.name}"))
    for policy, who in tries:
        verdict = resources.limiter.take(policy, who)
        if not verdict.allowed:
            raise TooManyTries("The access code was tried too often: wait before the next try.", verdict.reset)


def _known_until(expires_at: datetime) -> datetime:
    """Until when Redis vouches for a grant: one that was ended while Redis was away opens nothing for long."""
    return min(expires_at, datetime.now(UTC) + KNOWN_LIFE)


def _session_id(token: str) -> str:
    """A session is known by the digest of its token: who reads the tables cannot open anything."""
    return hashlib.sha256(token.encode()).hexdigest()
