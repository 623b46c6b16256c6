"""The payloads of the inbox's webhooks: searched for a person, and erased."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Products, stock and bulk operations are about no person, and mail events have numbers only. The payload of a redaction
# that waits is needed for it.
_FIND_PAYLOADS: Final = text("""
SELECT id, topic, payload FROM (
    SELECT id, topic, payload, row_number() OVER w AS place, sum(octet_length(payload)) OVER w AS size FROM (
        SELECT id, topic, payload FROM webhook_events
        WHERE shop_domain = :shop_domain AND id > :after AND id <= :up_to AND received_at < :before
            AND payload IS NOT NULL
            AND topic !~ '^(products|inventory_levels|inventory_items|bulk_operations)/' AND topic <> 'mail-events'
            AND (topic NOT IN ('customers/redact', 'shop/redact') OR handled_at IS NOT NULL)
        ORDER BY id LIMIT :most
    ) f WINDOW w AS (ORDER BY id)
) s WHERE place = 1 OR size <= :bytes ORDER BY id
""")
_FIND_UNHANDLED: Final = text("""
SELECT id, topic, payload FROM webhook_events
WHERE shop_domain = :shop_domain AND topic = ANY(:topics) AND handled_at IS NULL AND payload IS NOT NULL ORDER BY id
""")
_FIND_SEARCHED: Final = text("SELECT min(coalesce(searched_up_to, 0)) FROM webhook_events WHERE id = ANY(:ids)")
_RECORD_SEARCHED: Final = text(
    "UPDATE webhook_events SET searched_up_to = greatest(searched_up_to, :id) WHERE id = ANY(:ids)"
)
_RESET_SEARCHED: Final = text("UPDATE webhook_events SET searched_up_to = NULL WHERE id = ANY(:ids)")
_LOCK: Final = text("SELECT FROM webhook_events WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
# Another consumer may have read what waits, and handles it unless it is handled: the rest goes on as another webhook.
_GO_ON: Final = text("""
INSERT INTO webhook_events (shop_domain, webhook_id, topic, api_version, triggered_at, received_at, payload, due_at,
    attempts, failures)
SELECT e.shop_domain, e.webhook_id || '/nameless', e.topic, e.api_version, e.triggered_at, e.received_at, n.payload,
    e.due_at, e.attempts, e.failures
FROM unnest(CAST(:ids AS bigint[]), CAST(:payloads AS bytea[])) AS n (id, payload) JOIN webhook_events e USING (id)
WHERE e.handled_at IS NULL AND n.payload IS NOT NULL
ON CONFLICT DO NOTHING
""")
_ERASE: Final = text("""
UPDATE webhook_events e SET
    payload = CASE WHEN e.outcome = 'dead' THEN n.payload END,
    outcome = CASE WHEN e.handled_at IS NULL THEN 'ignored'
        WHEN e.outcome = 'dead' AND n.payload IS NULL THEN 'discarded' ELSE e.outcome END,
    handled_at = coalesce(e.handled_at, now())
FROM unnest(CAST(:ids AS bigint[]), CAST(:payloads AS bytea[])) AS n (id, payload) WHERE e.id = n.id
""")
_ERASE_SHOP: Final = text("""
UPDATE webhook_events SET payload = NULL, handled_at = coalesce(handled_at, now()),
    outcome = CASE WHEN handled_at IS NULL THEN 'ignored' WHEN outcome = 'dead' THEN 'discarded' ELSE outcome END
WHERE id = ANY(ARRAY(
    SELECT id FROM webhook_events
    WHERE shop_domain = :shop_domain AND received_at < :before AND payload IS NOT NULL AND id <> ALL(:kept)
    ORDER BY id LIMIT :most FOR UPDATE
)) RETURNING 1
""")
_ERASE_OWN: Final = text("UPDATE webhook_events SET payload = NULL WHERE id = ANY(:ids)")
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of payloads that are read at once."""
_MOST: Final = 1_000


class StoredPayload(NamedTuple):
    """A payload in the inbox."""

    id: int
    topic: str
    payload: bytes


async def find_payloads(
    session: AsyncSession, shop_domain: str, before: datetime, after: int, up_to: int
) -> list[StoredPayload]:
    """Some payloads of the shop, received before this moment, that may be about a person: the next of these ids.

    They have `MOST_BYTES` at most, or there is one; none is left if there is none.
    """
    ids = {"after": after, "up_to": up_to}
    parameters = {"shop_domain": shop_domain, "before": before, "most": _MOST, "bytes": MOST_BYTES} | ids
    return [StoredPayload(*row) for row in await session.execute(_FIND_PAYLOADS, parameters)]


async def find_unhandled(session: AsyncSession, shop_domain: str, topics: Sequence[str]) -> list[StoredPayload]:
    """The shop's webhooks of these topics that are not handled."""
    found = await session.execute(_FIND_UNHANDLED, {"shop_domain": shop_domain, "topics": list(topics)})
    return [StoredPayload(*row) for row in found]


async def find_searched(session: AsyncSession, ids: Collection[int]) -> int:
    """Up to which id all of these redactions have searched the payloads: 0 if one has not begun."""
    return (await session.execute(_FIND_SEARCHED, {"ids": list(ids)})).scalar() or 0


async def record_searched(session: AsyncSession, ids: Collection[int], up_to: int) -> None:
    """Record that these redactions have searched the payloads up to this id."""
    if ids:
        await session.execute(_RECORD_SEARCHED, {"ids": list(ids), "id": up_to})


async def reset_searched(session: AsyncSession, ids: Collection[int]) -> None:
    """Let these redactions search all payloads again."""
    await session.execute(_RESET_SEARCHED, {"ids": list(ids)})


async def erase_payloads(session: AsyncSession, payloads: Mapping[int, bytes | None]) -> None:
    """Erase these payloads, by id, and keep only what is given of those that wait or are dead letters.

    Call it first in a transaction: it waits for those that are being handled, and what they wrote is seen then.
    """
    if not payloads:
        return
    ordered = dict(sorted(payloads.items()))
    parameters = {"ids": list(ordered), "payloads": list(ordered.values())}
    await session.execute(_LOCK, {"ids": list(ordered)})
    await session.execute(_GO_ON, parameters)
    await session.execute(_ERASE, parameters)


async def erase_payloads_of_shop(
    session: AsyncSession, shop_domain: str, before: datetime, kept: Sequence[int], most: int
) -> int:
    """Erase up to `most` payloads of the shop, but those of `kept`; their number. What waits is ignored then."""
    parameters = {"shop_domain": shop_domain, "before": before, "kept": list(kept), "most": most}
    return len((await session.execute(_ERASE_SHOP, parameters)).all())


async def erase_own_payloads(session: AsyncSession, ids: Sequence[int]) -> None:
    """Erase the payloads of the webhooks that the caller's transaction handles."""
    await session.execute(_ERASE_OWN, {"ids": list(ids)})
