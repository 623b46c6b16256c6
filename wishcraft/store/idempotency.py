"""Queries about idempotency keys: a repeated creation gets the stored result instead of creating another object."""

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.statements import Call, Rows, Statement

KEPT: Final = timedelta(hours=24)

# Of two concurrent requests with the same key, the second waits here until the first commits, and finds its result.
_ACQUIRE: Final = Statement(
    text("""
INSERT INTO idempotency_keys (shop_id, caller, key, request_hash, created, expires_at)
VALUES (:shop_id, :caller, :key, :request_hash, '', now() + :kept)
ON CONFLICT (shop_id, caller, key) DO UPDATE
    SET request_hash = excluded.request_hash, created = '', expires_at = excluded.expires_at
    WHERE idempotency_keys.expires_at < now()
RETURNING true
""")
)
_FIND_STORED: Final = Statement(
    text("""
SELECT CAST(request_hash AS bytea), CAST(created AS text) FROM idempotency_keys
WHERE shop_id = :shop_id AND caller = :caller AND key = :key
""")
)
_FIND_LIVE: Final = text("""
SELECT request_hash, created FROM idempotency_keys
WHERE shop_id = :shop_id AND caller = :caller AND key = :key AND expires_at >= now()
""")
_CLEAR_RESULTS: Final = text("""
UPDATE idempotency_keys SET created = '' WHERE shop_id = :shop_id AND created = ANY(
    SELECT slug FROM registries WHERE shop_id = :shop_id AND id = :registry_id
    UNION ALL SELECT id::text FROM registry_items WHERE shop_id = :shop_id AND registry_id = :registry_id
)
""")
_COMPLETE: Final = Statement(
    text("""
UPDATE idempotency_keys SET created = :created WHERE shop_id = :shop_id AND caller = :caller AND key = :key
""")
)


class IdempotencyKey(NamedTuple):
    """A caller's key, with the digest of the request that carries it."""

    shop_id: int
    caller: str
    key: str
    request_hash: bytes

    @property
    def row_key(self) -> dict[str, object]:
        """The columns that identify its row."""
        return {"shop_id": self.shop_id, "caller": self.caller, "key": self.key}


class StoredResult(NamedTuple):
    """The result of an earlier request with the key, and whether its digest is the same."""

    created: str
    """Its slug or id; empty if its registry was deleted since."""
    same_request: bool


def acquire_key(key: IdempotencyKey) -> Call:
    """Acquire the key for this transaction: one row, or none if an earlier request did (see `find_stored`)."""
    return _ACQUIRE(**key._asdict(), kept=KEPT)


def find_stored(key: IdempotencyKey) -> Call:
    """Find the result of the request that has acquired the key; `read_stored` reads it."""
    return _FIND_STORED(**key.row_key)


def read_stored(key: IdempotencyKey, rows: Rows) -> StoredResult:
    """The result of the request that has acquired the key."""
    [(request_hash, created)] = rows
    return StoredResult(created, bytes(request_hash) == key.request_hash)


async def find_result(session: AsyncSession, key: IdempotencyKey) -> StoredResult | None:
    """The result of an earlier request with the key, or None; does not acquire the key."""
    row = (await session.execute(_FIND_LIVE, key.row_key)).one_or_none()
    return StoredResult(row.created, bytes(row.request_hash) == key.request_hash) if row else None


def complete(key: IdempotencyKey, created: str) -> Call:
    """Store the slug or id of the created object, in the transaction that created it."""
    return _COMPLETE(**key.row_key, created=created)


async def clear_results(session: AsyncSession, shop_id: int, registry_id: int) -> None:
    """Clear the stored results of a registry, which the caller deletes next, and of its items."""
    await session.execute(_CLEAR_RESULTS, {"shop_id": shop_id, "registry_id": registry_id})
