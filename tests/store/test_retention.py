from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from tests.support.aliases import Demo
from tests.support.demo_data import DemoData
from wishcraft.domain.retention import DataKind
from wishcraft.settings import Settings
from wishcraft.store import retention
from wishcraft.store.engine import Database
from wishcraft.store.schema.history import IS_COMPLIANCE

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
INDEXES = {
    DataKind.AUDIT: "ix_audit_logs_find_old_ordinary",
    DataKind.COMPLIANCE: "ix_audit_logs_find_old_compliance",
    DataKind.WEBHOOKS: "ix_webhook_events_find_handled",
    DataKind.PAYLOADS: "ix_webhook_events_find_payloads",
    DataKind.ORDERS: "ix_orders_find_old",
    DataKind.PRODUCTS: "ix_product_versions_find_old",
    DataKind.STOCK: "ix_inventory_items_find_old",
    DataKind.ANALYTICS: "ix_analytics_events_find_old",
    DataKind.VIEWS: "ix_registry_views_find_old",
    DataKind.MINUTES: "pk_service_minutes",
    DataKind.INVITATIONS: "ix_invitations_find_expired",
    DataKind.COUNTED: "ix_counted_invitations_find_expired",
    DataKind.MAILS: "ix_deleted_mails_find_expired",
    DataKind.IDEMPOTENCY: "ix_idempotency_keys_find_expired",
    DataKind.SESSIONS: "ix_sessions_find_expired",
}
ROWS = 20_000
EMPTY = """
    TRUNCATE audit_logs, webhook_events, analytics_events, sessions, registry_views, idempotency_keys, service_minutes,
        invitations, counted_invitations, deleted_mails, orders, product_versions, inventory_items
"""


@pytest.fixture(scope="module")
def full_tables(base_settings: Settings, demo_data: DemoData) -> Iterator[None]:
    """A row for each of the last minutes; a tenth of the audit logs are of compliance actions."""
    with psycopg.connect(base_settings.database_url.replace("+psycopg", ""), autocommit=True) as tables:
        demo_data.restore(tables, base_settings)
        fill(tables)
        yield
        tables.execute(EMPTY)


@pytest.fixture
async def database(settings: Settings, full_tables: None) -> AsyncIterator[Database]:
    """The database with full tables."""
    assert full_tables is None
    database = Database(settings.database_url)
    yield database
    await database.close()


def fill(demo: Demo) -> None:
    demo.execute(EMPTY)
    moments = "SELECT n, CAST(%s AS timestamptz) - n * interval '1 minute' AS moment FROM generate_series(1, %s) n"
    for insert in (
        """INSERT INTO audit_logs (actor, action, resource, resource_id, created_at)
           SELECT 'ops', CASE WHEN n %% 10 = 0 THEN 'shop/redact' ELSE 'registry.archived' END, 'r', n, moment""",
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, triggered_at, handled_at, outcome, payload)
           SELECT 'a.shop', 'w' || n, 'orders/paid', moment, CASE WHEN n %% 10 > 0 THEN moment END, 'applied', '{}'""",
        "INSERT INTO orders (shop_id, order_id, seen_at) SELECT 1, n, moment",
        "INSERT INTO product_versions SELECT 1, n, moment, moment, 0",
        "INSERT INTO inventory_items (shop_id, inventory_item_id, updated_at) SELECT 1, n, moment",
        """INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id)
           SELECT 1, (SELECT min(id) FROM registries WHERE shop_id = 1), 'registry_viewed', moment, 'v'""",
        """INSERT INTO registry_views (shop_id, registry_id, day, views)
           SELECT 1, (SELECT min(id) FROM registries WHERE shop_id = 1), CAST(moment AS date) - n::int, 1""",
        """INSERT INTO idempotency_keys (shop_id, caller, key, request_hash, created, expires_at)
           SELECT 1, 'key', n, '', 'smith', moment""",
        """INSERT INTO invitations (shop_id, registry_id, recipient, expires_at)
           SELECT 1, (SELECT min(id) FROM registries WHERE shop_id = 1), 'p' || n, moment""",
        """INSERT INTO counted_invitations (shop_id, mailbox_hash, expires_at) SELECT 1, '', moment""",
        "INSERT INTO deleted_mails SELECT 1, 'r', n, '', moment",
        """INSERT INTO service_minutes SELECT moment, true, 0, 0, '{0}', 0, 0, 0, 0""",
        """INSERT INTO sessions (id, shop_id, kind, subject, expires_at)
           SELECT 's' || n, 1, 'guest_grant', 'smith', moment""",
    ):
        demo.execute(f"{insert} FROM ({moments}) m".encode(), [NOW, ROWS])
    demo.execute("ANALYZE")


async def plan(database: Database, statement: str, kind: DataKind, before: datetime) -> str:
    query = text("EXPLAIN " + statement.format(retention._AGING[kind]))
    async with database.transaction() as session:
        lines = await session.scalars(query, {"before": before, "limit": 1000})
        return "\n".join(lines)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=ROWS / 2), timedelta(minutes=ROWS + 1)])
@pytest.mark.parametrize("kind", INDEXES)
async def test_a_batch_uses_its_index_whether_all_rows_or_none_are_expired(
    database: Database, kind: DataKind, age: timedelta
) -> None:
    lines = await plan(database, retention._DELETE, kind, NOW - age)
    assert INDEXES[kind] in lines, lines
    assert "Seq Scan" not in lines.replace("Seq Scan on shops", ""), lines  # which has few rows
    assert "Sort" not in lines, lines


@pytest.mark.parametrize("kind", sorted(set(INDEXES) - {DataKind.VIEWS}))  # they count days: all but a few are old
async def test_a_count_of_few_rows_uses_the_index(database: Database, kind: DataKind) -> None:
    lines = await plan(database, retention._COUNT, kind, NOW - timedelta(minutes=ROWS - 10))
    assert INDEXES[kind] in lines, lines


async def test_webhooks_about_privacy_and_actions_of_compliance_alone_are_compliance(database: Database) -> None:
    compliance = {"compliance.export", "compliance.", "customers/data_request", "customers/redact", "shop/redact"}
    others = {"", "%", "compliance", "registry.compliance.", "Compliance.export", "customers/update", "shop/redacted"}
    async with database.repeatable_read() as session:
        query = text(f"SELECT action FROM unnest(CAST(:actions AS text[])) action WHERE {IS_COMPLIANCE}")  # noqa: S608  constants
        assert set(await session.scalars(query, {"actions": [*compliance, *others]})) == compliance


async def test_a_count_stops_at_its_limit(database: Database) -> None:
    async with database.repeatable_read() as session:
        assert (await session.execute(text("SELECT count(*) FROM sessions"))).scalar_one() == ROWS
        assert await retention.count_old(session, DataKind.SESSIONS, NOW, most=1000) == 1000
