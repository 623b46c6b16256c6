"""Access to password-protected registries: the access code is exchanged for a grant, which opens the registry."""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.cache.keys import SessionName
from wishcraft.domain.cached_registry import AccessLevel, access_level
from wishcraft.domain.callers import Caller
from wishcraft.errors import (
    NO_SUCH_REGISTRY,
    CacheUnavailable,
    Conflict,
    DatabaseUnavailable,
    NotAllowed,
    NotFound,
    WrongAccessCode,
)
from wishcraft.resources import Resources
from wishcraft.services.registries.code_hashes import require_capacity, verify_code
from wishcraft.services.registries.code_tries import CodeTries, name_for_tries
from wishcraft.store import registries, sessions

GRANT_TTL: Final = timedelta(hours=24)
CACHED_GRANT_TTL: Final = timedelta(minutes=10)
"""How long Redis keeps a grant: one that was deleted while Redis did not answer stays valid no longer than this."""
_TOKEN_BYTES: Final = 32


class Grant(NamedTuple):
    """The right to read one registry. The guest sends its token; only the digest is stored."""

    token: str
    expires_at: datetime


async def unlock(resources: Resources, caller: Caller, senders: Sequence[str], slug: str, code: str) -> Grant:
    """Exchange the access code for a grant.

    `senders` are the identities under which tries are counted: address and signed query, or credentials.

    Raises:
        NotFound: The shop has no such registry that guests may read.
        Conflict: It needs no code.
        WrongAccessCode: The code is wrong.
        TooManyTries: The sender tried too many codes, or more are tried at this moment than can be verified.
    """
    tries = CodeTries(resources.limiter, name_for_tries(caller.shop_id, slug), senders, caller.is_server)
    require_capacity(tries.shares)  # before the try is counted: a caller that is refused has not tried
    async with tries.count():
        async with resources.db.autocommit() as session:
            found = await registries.find_access(session, caller.shop_id, slug)
        needed = access_level(found.visibility, found.status) if found else AccessLevel.ABSENT
        if found is None or needed in {AccessLevel.ABSENT, AccessLevel.OWNER}:
            raise NotFound(NO_SUCH_REGISTRY)
        if needed is AccessLevel.OPEN or found.access_code_hash is None:
            raise Conflict("The registry needs no access code.")
        if not await verify_code(code, found.access_code_hash, tries.shares):
            await tries.record_wrong()
            raise WrongAccessCode("The access code is wrong.")
    grant = Grant(secrets.token_urlsafe(_TOKEN_BYTES), datetime.now(UTC) + GRANT_TTL)
    name = SessionName(caller.shop_id, _session_id(grant.token))
    async with resources.db.transaction() as session:
        if await registries.find_access(session, caller.shop_id, slug, lock=True) != found:
            raise NotAllowed("The access code has just been changed. Ask the registrant for the new one.")
        await sessions.add_grant(session, *name, slug, grant.expires_at)
    with suppress(DatabaseUnavailable):  # the grant is stored, and its first read asks for it
        await _cache_grant(resources, name, slug, grant.expires_at)
    return grant


async def is_granted(resources: Resources, shop_id: int, slug: str, token: str) -> bool:
    """Whether the token is a valid grant for the registry, according to Redis or else PostgreSQL."""
    name = SessionName(shop_id, _session_id(token))
    with suppress(CacheUnavailable):
        known = await resources.sessions.get(name)
        if known is not None:
            return known == slug
    async with resources.db.autocommit() as session:
        found = await sessions.find_grant(session, *name)
    return found is not None and await _cache_grant(resources, name, *found) and found[0] == slug


async def _cache_grant(resources: Resources, name: SessionName, slug: str, expires_at: datetime) -> bool:
    """Put a grant that PostgreSQL had a moment ago into Redis; False if it has ended since, and is not there.

    A change that ends a grant deletes its row first, and then what Redis has: that may have been before it was put
    there. It stays there only if PostgreSQL still has it.
    """
    try:
        await resources.sessions.put(name, slug, min(expires_at, datetime.now(UTC) + CACHED_GRANT_TTL))
    except CacheUnavailable:  # the next read asks PostgreSQL
        return True
    is_live = False
    try:
        async with resources.db.autocommit() as session:
            is_live = await sessions.find_grant(session, *name) is not None
    finally:  # also if PostgreSQL does not answer, or the request is cancelled
        if not is_live:
            await resources.sessions.try_delete([name])
    return is_live


def _session_id(token: str) -> str:
    """The digest of the token: a reader of the tables cannot use it."""
    return hashlib.sha256(token.encode()).hexdigest()
