"""Creates, rotates and revokes the API keys of shops, and writes down who did."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.domain.api_keys import make_key
from wishcraft.domain.callers import Scope
from wishcraft.errors import Conflict, NotFound
from wishcraft.store import api_keys, audit_log
from wishcraft.store.api_keys import KeyFacts
from wishcraft.store.audit_log import Actor
from wishcraft.store.engine import Database

GRACE: Final = timedelta(hours=24)
"""How long a key that was rotated is good for, beside the new one."""
_KEY_BYTES: Final = 38


class Issued(NamedTuple):
    """A new key: the only time that it can be read."""

    key: str
    facts: KeyFacts


async def create_key(
    db: Database,
    actor: Actor,
    name: str,
    scopes: Sequence[Scope],
    *,
    ip_allow_list: Sequence[str] = (),
    days: int | None = None,
) -> Issued:
    """A key for the actor's shop that expires after so many days, or never; from any address if none is listed."""
    new = make_key(secrets.token_bytes(_KEY_BYTES))
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    async with db.transaction() as session:
        facts = await api_keys.add(session, actor.shop_id, name, new, scopes, ip_allow_list, expires_at)
        await audit_log.record(session, actor, "key.created", "api_key", new.prefix)
    return Issued(new.key, facts)


async def rotate_key(db: Database, actor: Actor, prefix: str, grace: timedelta = GRACE) -> Issued:
    """A new key like the one with this prefix, which goes on being good for `grace`: no caller need see a gap.

    The new one expires as long from now as the old one did from its beginning.

    Raises:
        NotFound: The shop has no such key.
        Conflict: It was revoked or has expired.
    """
    new = make_key(secrets.token_bytes(_KEY_BYTES))
    now = datetime.now(UTC)
    async with db.transaction() as session:
        old = await api_keys.find(session, actor.shop_id, prefix)
        if old is None:
            raise _no_such_key()
        if old.revoked_at or (old.expires_at and old.expires_at <= now):
            raise Conflict("The key is no longer good: create a new one.")
        expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
        scopes = [Scope(scope) for scope in old.scopes]
        facts = await api_keys.add(session, actor.shop_id, old.name, new, scopes, old.ip_allow_list, expires_at)
        await api_keys.end(session, actor.shop_id, prefix, grace)
        await audit_log.record(session, actor, "key.rotated", "api_key", prefix, {"successor": new.prefix})
    return Issued(new.key, facts)


async def revoke_key(db: Database, actor: Actor, prefix: str) -> None:
    """End a key; to do it again changes nothing.

    Raises:
        NotFound: The shop has no such key.
    """
    async with db.transaction() as session:
        if not await api_keys.revoke(session, actor.shop_id, prefix):
            raise _no_such_key()
        await audit_log.record(session, actor, "key.revoked", "api_key", prefix)


async def list_keys(db: Database, shop_id: int) -> list[KeyFacts]:
    """The shop's keys, the newest first."""
    async with db.autocommit() as session:
        return await api_keys.list_all(session, shop_id)


def _no_such_key() -> NotFound:
    return NotFound("The shop has no such key.")
