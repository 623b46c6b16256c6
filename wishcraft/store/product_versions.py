"""Queries about the newest webhooks of products that were applied."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text

from wishcraft.domain.webhooks import EventTime
from wishcraft.store.registries import WriteSession


class ProductVersion(NamedTuple):
    """Version of a product, by which its webhooks are ordered."""

    product_id: int
    time: EventTime
    fingerprint: int
    """Of what the webhook says: decides between two of the same moment."""


# Sorted by id, so that two writers that know the same products wait for each other in turn.
_SAVE: Final = text("""
INSERT INTO product_versions AS p (shop_id, product_id, updated_at, triggered_at, fingerprint)
SELECT :shop_id, n.* FROM jsonb_to_recordset(CAST(:versions AS jsonb)) AS n (
    product_id bigint, updated_at timestamptz, triggered_at timestamptz, fingerprint bigint
) ORDER BY n.product_id
ON CONFLICT (shop_id, product_id) DO UPDATE SET updated_at = excluded.updated_at,
    triggered_at = excluded.triggered_at, fingerprint = excluded.fingerprint
WHERE (excluded.updated_at, excluded.triggered_at, excluded.fingerprint) > (p.updated_at, p.triggered_at, p.fingerprint)
RETURNING product_id
""")


async def save(session: WriteSession, shop_id: int, versions: Sequence[ProductVersion]) -> set[int]:
    """Store the versions, at most one for a product, that are newer than what is stored; their products."""
    rows: list[dict[str, Any]] = [
        {"product_id": each.product_id, **each.time._asdict(), "fingerprint": each.fingerprint} for each in versions
    ]
    return set(await session.scalars(_SAVE, {"shop_id": shop_id, "versions": orjson.dumps(rows).decode()}))
