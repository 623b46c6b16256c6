"""Creates, rotates and revokes shops' API keys, with an audit log record of each."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.domain.api_keys import Rights, find_excess, make_key
from wishcraft.domain.callers import Scope
from wishcraft.errors import Conflict, NotAllowed, NotFound
from wishcraft.store import api_keys, audit_log
from wishcraft.store.api_keys import KeyFacts
from wishcraft.store.audit_log import Actor
from wishcraft.store.engine import Database

GRACE: Final = timedelta(hours=24)
"""How long a rotated key stays valid beside its successor."""
_KEY_BYTES: Final = 38
_LOST_SUCCESSOR: Final = "If that one is lost, an administrator, or `deployments.api_keys`, must create a new one."
"""For a key that rotates itself again: it has fewer rights than its successor, which lives longer."""


class Issued(NamedTuple):
    """A new key in plain text, which is not stored and cannot be read again."""

    key: str
    facts: KeyFacts


async def create_key(
    db: Database,
    actor: Actor,
    name: str,
    scopes: Sequence[Scope],
    *,
    ip_allow_list: Sequence[str],
    days: int | None,
) -> Issued:
    """Create a key for the actor's shop.

    Args:
        db: The database.
        actor: The shop, and who creates the key.
        name: A name for people.
        scopes: What the key may do.
        ip_allow_list: Networks that may use it; empty allows all.
        days: Days until it expires; None is never.

    Raises:
        NotAllowed: The actor is a key that has fewer rights.
    """
    new = make_key(secrets.token_bytes(_KEY_BYTES))
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    async with db.transaction() as session:
        keys = await api_keys.lock(session, actor.shop_id, _acting(actor))
        _check_rights(actor, keys, Rights(scopes, ip_allow_list, expires_at))
        facts = await api_keys.add(session, actor.shop_id, name, new, scopes, ip_allow_list, expires_at)
        details = {"scopes": [*scopes], "networks": [*ip_allow_list], "days": days}
        await audit_log.record(session, actor, "key.created", "api_key", new.prefix, details)
    return Issued(new.key, facts)


async def rotate_key(db: Database, actor: Actor, prefix: str, grace: timedelta) -> Issued:
    """Replace the key with this prefix by a new one with the same rights and lifetime.

    The old key stays valid for `grace`, so that clients can change over without an interruption.

    Raises:
        NotFound: The shop has no such key.
        Conflict: The key was revoked, has expired or was replaced before.
        NotAllowed: The actor is another key, which has fewer rights.
    """
    new = make_key(secrets.token_bytes(_KEY_BYTES))
    now, is_own = datetime.now(UTC), actor.name == f"key:{prefix}"
    async with db.transaction() as session:
        # Both at once: two keys that replaced each other would each wait for the other one.
        keys = await api_keys.lock(session, actor.shop_id, _acting(actor) | {prefix})
        if (old := keys.get(prefix)) is None:
            raise _no_such_key()
        if old.revoked_at or (old.expires_at and old.expires_at <= now):
            raise Conflict("The key was revoked or has expired. Create a new one.")
        if successor := await api_keys.find_successor(session, actor.shop_id, prefix):  # its expiry is the grace's end
            advice = _LOST_SUCCESSOR if is_own else "Rotate that one, or create a new one."
            raise Conflict(f"The key was replaced by {successor}. {advice}")
        expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
        if not is_own:  # a key may renew itself
            _check_rights(actor, keys, Rights(old.scopes, old.ip_allow_list, expires_at))
        scopes = [Scope(scope) for scope in old.scopes]
        facts = await api_keys.add(session, actor.shop_id, old.name, new, scopes, old.ip_allow_list, expires_at)
        await api_keys.end(session, actor.shop_id, prefix, new.prefix, grace)
        await audit_log.record(session, actor, "key.rotated", "api_key", prefix, {"successor": new.prefix})
    return Issued(new.key, facts)


async def revoke_key(db: Database, actor: Actor, prefix: str) -> None:
    """Revoke the key with this prefix at once. Idempotent.

    Raises:
        NotFound: The shop has no such key.
    """
    async with db.transaction() as session:
        if not await api_keys.revoke(session, actor.shop_id, prefix):
            raise _no_such_key()
        await audit_log.record(session, actor, "key.revoked", "api_key", prefix)


async def list_keys(db: Database, shop_id: int) -> list[KeyFacts]:
    """Return the shop's keys, newest first."""
    async with db.autocommit() as session:
        return await api_keys.list_all(session, shop_id)


def _acting(actor: Actor) -> set[str]:
    """The prefix of the key that acts; empty if a person does."""
    kind, _, prefix = actor.name.partition(":")
    return {prefix} if kind == "key" else set()


def _check_rights(actor: Actor, keys: Mapping[str, KeyFacts], new: Rights) -> None:
    """Raise NotAllowed if the actor is a key without these rights. People have them all."""
    for prefix in _acting(actor):
        if (granting := keys.get(prefix)) is None or granting.revoked_at:  # meanwhile
            raise NotAllowed("The key was revoked.")
        if reason := find_excess(new, Rights(granting.scopes, granting.ip_allow_list, granting.expires_at)):
            raise NotAllowed(reason)


def _no_such_key() -> NotFound:
    return NotFound("The shop has no such key.")
