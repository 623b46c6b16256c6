"""Registries as they are cached, in bulk: PostgreSQL writes the JSON of the items.

`domain/registry_payload.py` defines the payload; a test compares the SQL here with it, byte for byte.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import orjson
from sqlalchemy import text

from wishcraft.domain.cached_registry import CachedRegistry, Quota, access_level, soft_lifetime
from wishcraft.domain.currencies import UNUSUAL_DECIMALS, USUAL_DECIMALS
from wishcraft.domain.registries import EventType, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import RegistryFacts, Sums, compose_payload
from wishcraft.domain.share_links import share_template
from wishcraft.store.schema import ShopSettings
from wishcraft.store.schema.base import load_valid
from wishcraft.store.schema.registries import CoRegistrant
from wishcraft.store.statements import Call, Rows, Statement

_MOST_SETTINGS: Final = 256
"""How many shops' settings stay in memory, of which those of an active shop are read many times a second."""

# As `load_valid` reads it: what is not a number within the limits counts as the default.
LOW_STOCK_THRESHOLD: Final = """
CASE WHEN jsonb_typeof(settings->'low_stock_threshold') = 'number'
        AND settings->>'low_stock_threshold' ~ '^[0-9]{1,6}$'
    THEN (settings->>'low_stock_threshold')::int ELSE :low_stock_threshold END
"""
"""SQL of the threshold of a row of `shops`; the parameter is `DEFAULT_THRESHOLD`."""
DEFAULT_THRESHOLD: Final = ShopSettings().low_stock_threshold


def stock_level_sql(item: str) -> str:
    """The SQL of the stock level of `item`, an alias with its columns, beside the threshold of `s`."""
    return f"""
        CASE WHEN NOT {item}.tracked THEN 'in_stock' WHEN {item}.inventory_quantity <= 0 THEN 'out'
             WHEN {item}.inventory_quantity <= s.low_stock_threshold THEN 'low' ELSE 'in_stock' END
    """


# Without MATERIALIZED, a generic plan computes the shop's values for each item, and `unusual_decimals` twice. The
# subquery hides the number of slugs from the planner: a custom plan for one would look cheaper than the generic one, so
# PostgreSQL would plan each such query, which takes longer than to run it.
# The columns of `a` are the item's payload. The order of keys and half-up rounding follow `domain/registry_payload.py`.
PAYLOADS: Final = text(f"""
WITH s AS MATERIALIZED (
    SELECT id, domain, currency, settings::text AS settings_text,
        coalesce((CAST(:unusual_decimals AS jsonb) ->> currency)::int, :usual_decimals) AS decimals,
        {LOW_STOCK_THRESHOLD} AS low_stock_threshold
    FROM shops WHERE id = :shop_id
)
SELECT r.id, r.slug, r.version, r.title, r.description, r.event_type, r.event_date, r.customer_first_name,
    r.visibility, r.status, r.customer_id, s.currency, r.co_registrants, s.settings_text, i.items,
    i.wanted, i.purchased, i.fulfilled, i.wanted_amount, i.purchased_amount,
    now() - r.updated_at AS unchanged_for, r.event_date - (now() AT TIME ZONE 'UTC')::date AS days_to_event,
    s.domain
FROM registries r JOIN s ON s.id = r.shop_id
CROSS JOIN LATERAL (
    SELECT coalesce('[' || string_agg(row_to_json(a)::text, ',' ORDER BY i.display_order, i.id) || ']', '[]') AS items,
        coalesce(sum(i.quantity_wanted), 0)::bigint AS wanted,
        coalesce(sum(i.quantity_purchased), 0)::bigint AS purchased,
        coalesce(sum(least(i.quantity_wanted, i.quantity_purchased)), 0)::bigint AS fulfilled,
        coalesce(sum(i.price * i.quantity_wanted), 0) AS wanted_amount,
        coalesce(sum(i.price * i.quantity_purchased), 0) AS purchased_amount
    FROM registry_items i CROSS JOIN LATERAL (
        SELECT i.id, i.product_id, i.variant_id, i.handle, i.product_title, i.variant_title, i.image,
            round(i.price, s.decimals)::text AS price, round(i.compare_at_price, s.decimals)::text AS compare_at_price,
            i.quantity_wanted AS wanted, i.quantity_purchased AS purchased,
            greatest(0, i.quantity_wanted - i.quantity_purchased) AS remaining,
            i.priority, i.notes, i.available,
            {stock_level_sql("i")} AS stock,
            i.status, i.display_order, i.attribution
    ) a
    WHERE i.shop_id = r.shop_id AND i.registry_id = r.id AND i.status <> 'hidden'
) i
WHERE r.shop_id = :shop_id AND r.slug = ANY(ARRAY(SELECT unnest(CAST(:slugs AS text[]))))
""").bindparams(  # noqa: S608  ours
    unusual_decimals=orjson.dumps(UNUSUAL_DECIMALS).decode(),
    usual_decimals=USUAL_DECIMALS,
    low_stock_threshold=DEFAULT_THRESHOLD,
)
_FIND: Final = Statement(PAYLOADS)


class _Row(NamedTuple):
    """A row of `PAYLOADS`."""

    id: int
    slug: str
    version: int
    title: str
    description: str
    event_type: EventType
    event_date: date | None
    first_name: str
    visibility: Visibility
    status: RegistryStatus
    owner: int | None
    currency: str
    co_registrants: Sequence[CoRegistrant]
    settings: str
    """The same in each row."""
    items: str
    wanted: int
    purchased: int
    fulfilled: int
    wanted_amount: Decimal
    purchased_amount: Decimal
    unchanged_for: timedelta
    days_to_event: int | None
    domain: str
    """The same in each row."""


_FACTS: Final = _Row._fields.index("co_registrants")
"""The columns before it are the first fields of `RegistryFacts`."""


def find(shop_id: int, slugs: Sequence[str]) -> Call:
    """The query for these registries; unknown slugs are left out. `read` reads its rows.

    One statement sees one snapshot, so each version belongs to its items.
    """
    return _FIND(shop_id=shop_id, slugs=list(slugs))


def read(rows: Rows, shopify_origin: str) -> dict[str, CachedRegistry]:
    """The registries of the rows of `find`, by slug."""
    if not rows:
        return {}
    first = _Row._make(rows[0])
    settings = _load_settings(first.settings)
    template = share_template(settings.share_url, first.domain, shopify_origin)
    quota = Quota(settings.cache_quota_entries, settings.cache_quota_bytes)
    found = {}
    for row in map(_Row._make, rows):
        first_names = [person["first_name"] for person in row.co_registrants]
        more = (first_names, settings.low_stock_threshold, template.replace("{slug}", row.slug))
        registry = RegistryFacts._make((*row[:_FACTS], *more))
        sums = Sums(row.wanted, row.purchased, row.fulfilled, row.wanted_amount, row.purchased_amount)
        found[registry.slug] = CachedRegistry(
            version=registry.version,
            access_level=access_level(Visibility(registry.visibility), RegistryStatus(registry.status)),
            owner=registry.owner or 0,
            body=orjson.dumps(compose_payload(registry, orjson.Fragment(row.items), sums)),
            quota=quota,
            soft_lifetime=soft_lifetime(row.unchanged_for, row.days_to_event),
        )
    return found


@lru_cache(_MOST_SETTINGS)
def _load_settings(stored: str) -> ShopSettings:
    return load_valid(ShopSettings, json.loads(stored))  # not orjson, which refuses 1e400: it counts as the default
