"""Queries that erase or export one person's rows, each scoped to one shop.

Addresses are found by their `domain.people.spellings`, hashed. Rows that were added since an erasure stay.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.people import Person
from wishcraft.store.schema.registries import PURCHASER_COLUMNS, CoRegistrant
from wishcraft.store.suppressions import hash_sql


class NamedIn(NamedTuple):
    """A registry that names a person."""

    id: int
    slug: str
    is_owner: bool
    """Whether it is the person's own."""
    is_contact: bool
    """Whether the address of the registrant is theirs."""
    co_registrants: list[CoRegistrant]
    """The others that it names."""
    names_them: bool
    """Whether one of its co-registrants is the person."""


def _is_theirs(column: str) -> str:
    """The SQL of whether an address is one of the person's."""
    spelled = f"normalize(lower(btrim({column})), NFC)"
    return f"{hash_sql('CAST(:shop_id AS bigint)', spelled)} = ANY(CAST(:contacts AS bytea[]))"


_ADDRESSED: Final = f"shop_id = :shop_id AND created_at < :before AND {_is_theirs('recipient')}"
_BOUGHT: Final = f"""
shop_id = :shop_id AND num_nonnulls({", ".join(PURCHASER_COLUMNS)}) > 0
AND created_at < :before AND (
    order_id = ANY(CAST(:orders AS bigint[])) OR purchaser_id = ANY(CAST(:customers AS bigint[]))
    OR {_is_theirs("purchaser_email")}
)
"""
NAMELESS: Final = ", ".join(f"{column} = NULL" for column in PURCHASER_COLUMNS)
"""The SQL that takes the names out of purchases and unmatched line items."""
_OWNED: Final = f"""
(customer_id = ANY(CAST(:customers AS bigint[])) OR (customer_id IS NULL AND {_is_theirs("customer_email")}))
"""
# Whom a registry has named again since, it has invited again: the erasure had deleted the invitation.
_FIND: Final = text(f"""
SELECT id, slug, is_owner, is_contact, others, names_them FROM (
    SELECT id, slug, coalesce({_OWNED}, false) AS is_owner, {_is_theirs("customer_email")} AS is_contact,
        (SELECT coalesce(jsonb_agg(c ORDER BY n), '[]') FROM jsonb_array_elements(co_registrants)
            WITH ORDINALITY AS e (c, n) WHERE NOT {_is_theirs("c ->> 'email'")}) AS others,
        EXISTS (SELECT FROM jsonb_array_elements(co_registrants) c
            WHERE {_is_theirs("c ->> 'email'")}) AS names_them
    FROM registries WHERE shop_id = :shop_id AND created_at < :before
) r WHERE is_owner OR ((is_contact OR names_them) AND NOT EXISTS (
    SELECT FROM invitations n WHERE n.registry_id = r.id AND n.created_at >= :before AND {_is_theirs("n.recipient")}
)) ORDER BY id
""")  # noqa: S608  constants alone
_ERASE: Final[Mapping[str, str]] = {
    # First: a line that a person makes a purchase meanwhile is waited for here, and found there.
    "unmatched line items": f"""
        UPDATE unmatched_lines SET {NAMELESS}
        WHERE id IN (SELECT id FROM unmatched_lines WHERE {_BOUGHT} ORDER BY id FOR UPDATE) RETURNING 1
    """,  # noqa: S608
    # With them, no visit of a browser leads to them any more. The line items of an order stay one visit.
    "purchases": f"""
        WITH bought AS (
            UPDATE purchases SET {NAMELESS}
            WHERE id IN (SELECT id FROM purchases WHERE {_BOUGHT} ORDER BY id FOR UPDATE)
            RETURNING shop_id, registry_id, created_at
        ), visits AS (
            SELECT shop_id, registry_id, occurred_at, visitor_id, gen_random_uuid()::text AS unlinked
            FROM analytics_events
            WHERE type = 'purchased'
                AND (shop_id, registry_id, occurred_at) IN (SELECT shop_id, registry_id, created_at FROM bought)
            GROUP BY shop_id, registry_id, occurred_at, visitor_id
        ), unlinked AS (
            UPDATE analytics_events e SET visitor_id = v.unlinked
            FROM visits v
            WHERE e.shop_id = v.shop_id AND e.registry_id = v.registry_id AND e.occurred_at = v.occurred_at
                AND e.visitor_id = v.visitor_id AND e.type = 'purchased'
        )
        SELECT 1 FROM bought
    """,  # noqa: S608
    # While the invitations are there, which say in which registries the person may have answered.
    "answers": f"""
        UPDATE audit_logs SET ip = NULL, user_agent = NULL
        WHERE shop_id = :shop_id AND created_at < :before
            AND action IN ('invitation.confirmed', 'invitation.declined')
            AND resource_id IN (SELECT registry_id::text FROM invitations WHERE {_ADDRESSED})
        RETURNING 1
    """,  # noqa: S608
    "reminders": f"DELETE FROM reminders WHERE {_ADDRESSED} RETURNING 1",  # noqa: S608
    "invitations": f"DELETE FROM invitations WHERE {_ADDRESSED} RETURNING 1",  # noqa: S608
    "mails of deleted registries": """
        DELETE FROM deleted_mails WHERE shop_id = :shop_id AND address_hash = ANY(CAST(:contacts AS bytea[]))
        RETURNING 1
    """,
    "idempotency keys": """
        DELETE FROM idempotency_keys
        WHERE shop_id = :shop_id AND split_part(caller, ':', -1) = ANY(CAST(CAST(:customers AS bigint[]) AS text[]))
        RETURNING 1
    """,
    "counted invitations": """
        UPDATE counted_invitations SET customer_id = NULL
        WHERE shop_id = :shop_id AND customer_id = ANY(CAST(:customers AS bigint[]))
        RETURNING 1
    """,
    "merges": """
        DELETE FROM merged_customers WHERE shop_id = :shop_id
            AND (kept_id = ANY(CAST(:customers AS bigint[])) OR deleted_id = ANY(CAST(:customers AS bigint[])))
        RETURNING 1
    """,
    "audit entries": """
        UPDATE audit_logs SET ip = NULL, user_agent = NULL, metadata = metadata - 'customer',
            actor = CASE WHEN actor = ANY(CAST(:callers AS text[])) THEN 'customer:erased' ELSE actor END
        WHERE shop_id = :shop_id AND created_at < :before AND (
            actor = ANY(CAST(:callers AS text[]))
            OR metadata ->> 'customer' = ANY(CAST(CAST(:customers AS bigint[]) AS text[]))
            OR (resource = 'address' AND resource_id = ANY(CAST(:hashes AS text[])))
        )
        RETURNING 1
    """,
}  # fmt: skip
"""Statements that erase rows other than registries and return one for each, by the name of their count.

Rows that orders and merges change, too, are locked in the order of their ids, as there.
"""


_COLLECT: Final[Mapping[str, str]] = {
    "registries": """
        SELECT to_jsonb(r) - '{shop_id,access_code_hash,search_text}'::text[] || jsonb_build_object('items', (
            SELECT coalesce(jsonb_agg(to_jsonb(i) - '{shop_id,registry_id}'::text[] ORDER BY i.id), '[]')
            FROM registry_items i WHERE i.shop_id = r.shop_id AND i.registry_id = r.id))
        FROM registries r WHERE shop_id = :shop_id AND id = ANY(CAST(:owned AS bigint[])) ORDER BY id
    """,
    "named_in": f"""
        SELECT jsonb_build_object('registry_id', r.id, 'event_type', r.event_type, 'as', n.person)
        FROM registries r CROSS JOIN LATERAL (
            SELECT jsonb_build_object('email', r.customer_email) AS person, r.customer_email AS email
            WHERE r.id <> ALL(CAST(:owned AS bigint[]))
            UNION ALL SELECT c, c ->> 'email' FROM jsonb_array_elements(r.co_registrants) c
        ) n
        WHERE r.shop_id = :shop_id AND {_is_theirs("n.email")} ORDER BY r.id
    """,  # noqa: S608
    "purchases": f"SELECT to_jsonb(p) - 'shop_id' FROM purchases p WHERE {_BOUGHT} ORDER BY id",  # noqa: S608
    "unmatched_purchases": f"SELECT to_jsonb(p) - 'shop_id' FROM unmatched_lines p WHERE {_BOUGHT} ORDER BY id",  # noqa: S608
    "invitations": f"""
        SELECT to_jsonb(m) - '{{shop_id,token_hash}}'::text[] FROM invitations m WHERE {_ADDRESSED} ORDER BY id
    """,  # noqa: S608
    "reminders": f"SELECT to_jsonb(m) - 'shop_id' FROM reminders m WHERE {_ADDRESSED} ORDER BY id",  # noqa: S608
    "unsubscribed": """
        SELECT jsonb_build_object('reason', reason, 'since', since) FROM email_suppressions
        WHERE shop_id = :shop_id AND address_hash = ANY(CAST(:contacts AS bytea[])) ORDER BY since
    """,
    "actions": """
        SELECT to_jsonb(a) - 'shop_id' FROM audit_logs a
        WHERE shop_id = :shop_id AND (actor = ANY(CAST(:callers AS text[]))
            OR metadata ->> 'customer' = ANY(CAST(CAST(:customers AS bigint[]) AS text[]))
            OR (action IN ('mail.unsubscribed', 'mail.resubscribed') AND resource_id = ANY(CAST(:hashes AS text[]))))
        ORDER BY id
    """,
}  # fmt: skip
"""Queries of exported rows, by their name in the file."""


async def collect(session: AsyncSession, shop_id: int, person: Person, before: datetime) -> dict[str, list[Any]]:
    """The person's rows, and nothing about others but what is in their own registries."""
    owned = [each.id for each in await find_registries(session, shop_id, person, before) if each.is_owner]
    parameters = _parameters(shop_id, person, before) | {"owned": owned}
    return {name: list(await session.scalars(text(query), parameters)) for name, query in _COLLECT.items()}


async def find_registries(session: AsyncSession, shop_id: int, person: Person, before: datetime) -> list[NamedIn]:
    """The registries made before this moment that name the person."""
    return [NamedIn._make(row) for row in await session.execute(_FIND, _parameters(shop_id, person, before))]


async def erase(session: AsyncSession, shop_id: int, person: Person, before: datetime) -> dict[str, int]:
    """Erase the person from all rows but the registries; how many rows changed, by table.

    Purchases stay without a name.
    """
    parameters = _parameters(shop_id, person, before)
    counts = {}
    for name, statement in _ERASE.items():
        rows = await session.execute(text(statement), parameters)
        counts[name] = len(rows.all())
    return counts


def _parameters(shop_id: int, person: Person, before: datetime) -> dict[str, Any]:
    return {
        "shop_id": shop_id,
        "before": before,
        "customers": list(person.customers),
        "orders": list(person.orders),
        "contacts": list(person.contacts),
        "hashes": [contact.hex() for contact in person.contacts],
        "callers": [f"customer:{shop_id}:{customer}" for customer in person.customers],
    }
