"""What was created under which `Idempotency-Key`: a repeated request finds it instead of making another."""

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

KEPT: Final = timedelta(hours=24)

# Two that come at once with the same key: the second waits here for the first to commit, and then finds what it made.
_CLAIM: Final = text("""
INSERT INTO idempotency_keys (shop_id, caller, key, request_hash, created, expires_at)
VALUES (:shop_id, :caller, :key, :request_hash, '', now() + :kept)
ON CONFLICT (shop_id, caller, key) DO UPDATE
    SET request_hash = excluded.request_hash, created = '', expires_at = excluded.expires_at
    WHERE idempotency_keys.expires_at < now()
RETURNING id
""")
_FIND: Final = text("""
SELECT request_hash, created FROM idempotency_keys WHERE shop_id = :shop_id AND caller = :caller AND key = :key
""")
_FIND_LIVE: Final = text("""
SELECT request_hash, created FROM idempotency_keys
WHERE shop_id = :shop_id AND caller = :caller AND key = :key AND expires_at >= now()
""")
_SETTLE: Final = text("""
UPDATE idempotency_keys SET created = :created WHERE shop_id = :shop_id AND caller = :caller AND key = :key
""")


class IdempotencyKey(NamedTuple):
    """A caller's key, and the digest of the request that it was sent with."""

    shop_id: int
    caller: str
    key: str
    request_hash: bytes

    @property
    def name(self) -> dict[str, object]:
        """What finds its row."""
        return {"shop_id": self.shop_id, "caller": self.caller, "key": self.key}


class StoredResult(NamedTuple):
    """What an earlier request with the key made, and whether it asked for the same."""

    created: str
    same_request: bool


async def acquire_key(session: AsyncSession, wanted: IdempotencyKey) -> StoredResult | None:
    """Take the key for this transaction; or what was made under it before."""
    taken = await session.execute(_CLAIM, wanted._asdict() | {"kept": KEPT})
    if taken.all():
        return None
    request_hash, created = (await session.execute(_FIND, wanted.name)).one()
    return StoredResult(created, bytes(request_hash) == wanted.request_hash)


async def find_result(session: AsyncSession, wanted: IdempotencyKey) -> StoredResult | None:
    """What was made under the key before; does not take it."""
    row = (await session.execute(_FIND_LIVE, wanted.name)).one_or_none()
    return StoredResult(row.created, bytes(row.request_hash) == wanted.request_hash) if row else None


async def complete(session: AsyncSession, claimed: IdempotencyKey, created: str) -> None:
    """Write down what was made, in the transaction that made it."""
    await session.execute(_SETTLE, claimed.name | {"created": created})
