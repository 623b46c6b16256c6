import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import CursorResult, event

from tests.support.aliases import Demo
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.errors import RunStopped
from wishcraft.files import RUNS
from wishcraft.resources import Resources
from wishcraft.services.cleanup import expired
from wishcraft.services.cleanup.expired import clean_files, clean_table

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
MONTH_AGO = NOW - timedelta(days=30)
FOREVER = datetime.max.replace(tzinfo=UTC)
TINY = timedelta(microseconds=1)
TABLES = [DataKind.AUDIT, DataKind.COMPLIANCE, DataKind.WEBHOOKS, DataKind.ANALYTICS, DataKind.SESSIONS]

INSERTS = {
    DataKind.AUDIT: """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, created_at)
                   SELECT 1, 'ops', 'registry.archived', 'registry', n, %s FROM generate_series(1, %s) n""",
    DataKind.COMPLIANCE: """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, created_at)
                        SELECT 1, 'shopify', 'customers/redact', 'customer', n, %s FROM generate_series(1, %s) n""",
    DataKind.WEBHOOKS: """INSERT INTO webhook_events (shop_domain, webhook_id, topic, triggered_at, handled_at, outcome)
                      SELECT 'a.myshopify.com', 'w' || n || '-' || moment, 'orders/paid', moment, moment, 'applied'
                      FROM (SELECT CAST(%s AS timestamptz) AS moment) m, generate_series(1, %s) n""",
    DataKind.ANALYTICS: """INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id)
                       SELECT shop_id, id, 'registry_viewed', moment, 'v' FROM
                       (SELECT CAST(%s AS timestamptz) AS moment) m, generate_series(1, %s) n,
                       (SELECT shop_id, id FROM registries ORDER BY id LIMIT 1) r""",
    DataKind.VIEWS: """INSERT INTO registry_views (shop_id, registry_id, day, views)
                   SELECT shop_id, id, CAST(moment AS date), 1 FROM
                   (SELECT CAST(%s AS timestamptz) - interval '1 day' AS moment) m,
                   (SELECT shop_id, id FROM registries ORDER BY id LIMIT %s) r""",
    DataKind.IDEMPOTENCY: """INSERT INTO idempotency_keys (shop_id, caller, key, request_hash, created, expires_at)
                         SELECT 1, 'key', n || '-' || moment, '', 'smith', moment
                         FROM (SELECT CAST(%s AS timestamptz) AS moment) m, generate_series(1, %s) n""",
    DataKind.SESSIONS: """INSERT INTO sessions (id, shop_id, kind, subject, expires_at)
                      SELECT 's' || n || '-' || moment, 1, 'guest_grant', 'a-registry', moment
                      FROM (SELECT CAST(%s AS timestamptz) AS moment) m, generate_series(1, %s) n""",
}
COUNTS = {
    DataKind.AUDIT: "SELECT count(*) FROM audit_logs",
    DataKind.COMPLIANCE: "SELECT count(*) FROM audit_logs",
    DataKind.WEBHOOKS: "SELECT count(*) FROM webhook_events",
    DataKind.ANALYTICS: "SELECT count(*) FROM analytics_events",
    DataKind.VIEWS: "SELECT count(*) FROM registry_views",
    DataKind.IDEMPOTENCY: "SELECT count(*) FROM idempotency_keys",
    DataKind.SESSIONS: "SELECT count(*) FROM sessions",
}


@pytest.fixture(autouse=True)
def only_the_tests_own_rows(demo: Demo) -> None:
    demo.execute("TRUNCATE audit_logs, webhook_events, analytics_events, sessions, registry_views, idempotency_keys")


def add(demo: Demo, kind: DataKind, moment: datetime, rows: int = 1) -> None:
    demo.execute(INSERTS[kind], [moment, rows])


def count(demo: Demo, kind: DataKind) -> int:
    [(rows,)] = demo.execute(COUNTS[kind]).fetchall()
    return int(rows)


def counts(old: int, deleted: int) -> dict[str, int]:
    return {"old": old, "deleted": deleted, "left": old - deleted}


@pytest.mark.parametrize("kind", TABLES)
async def test_rows_older_than_the_limit_are_deleted_and_those_at_it_kept(
    resources: Resources, demo: Demo, kind: DataKind
) -> None:
    add(demo, kind, MONTH_AGO - TINY)
    add(demo, kind, MONTH_AGO)
    assert await clean_table(resources, kind, MONTH_AGO, Bounds(10, FOREVER)) == counts(1, 1)
    assert count(demo, kind) == 1


@pytest.mark.parametrize("kind", TABLES)
async def test_a_second_run_deletes_nothing(resources: Resources, demo: Demo, kind: DataKind) -> None:
    add(demo, kind, MONTH_AGO - TINY, 25)
    assert await clean_table(resources, kind, MONTH_AGO, Bounds(10, FOREVER)) == counts(25, 25)
    assert await clean_table(resources, kind, MONTH_AGO, Bounds(10, FOREVER)) == counts(0, 0)


@pytest.mark.parametrize("kind", TABLES)
async def test_a_dry_run_counts_and_deletes_nothing(resources: Resources, demo: Demo, kind: DataKind) -> None:
    add(demo, kind, MONTH_AGO - TINY, 25)
    add(demo, kind, NOW, 3)
    assert await clean_table(resources, kind, MONTH_AGO, Bounds(10, FOREVER, dry_run=True)) == counts(25, 0)
    assert count(demo, kind) == 28


@pytest.mark.parametrize("kind", TABLES)
async def test_no_statement_deletes_more_than_a_batch(resources: Resources, demo: Demo, kind: DataKind) -> None:
    add(demo, kind, MONTH_AGO - TINY, 25)
    deleted: list[int] = []

    def record(_connection: object, cursor: CursorResult[Any], statement: str, *_: object) -> None:
        if statement.startswith("\nDELETE"):
            deleted.append(cursor.rowcount)

    event.listen(resources.db.engine.sync_engine, "after_cursor_execute", record)
    try:
        await clean_table(resources, kind, MONTH_AGO, Bounds(10, FOREVER))
    finally:
        event.remove(resources.db.engine.sync_engine, "after_cursor_execute", record)
    assert deleted == [10, 10, 5, 0]


async def test_ordinary_and_compliance_logs_are_deleted_separately(resources: Resources, demo: Demo) -> None:
    actions = ["registry.archived", "customers/redact", "customers/update", "compliance.export", "compliance", ""]
    for action in actions:
        demo.execute(
            "INSERT INTO audit_logs (actor, action, resource, resource_id, created_at) VALUES ('a', %s, 'r', 1, %s)",
            [action, MONTH_AGO - TINY],
        )
    kept = ["customers/redact", "compliance.export"]
    assert await clean_table(resources, DataKind.AUDIT, MONTH_AGO, Bounds(10, FOREVER)) == counts(4, 4)
    assert [action for (action,) in demo.execute("SELECT action FROM audit_logs ORDER BY id")] == kept
    assert await clean_table(resources, DataKind.COMPLIANCE, MONTH_AGO, Bounds(10, FOREVER)) == counts(2, 2)


async def test_an_unhandled_webhook_is_kept_whatever_its_age(resources: Resources, demo: Demo) -> None:
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, triggered_at, received_at)
           VALUES ('a.myshopify.com', 'w', 'orders/paid', '2020-01-01Z', '2020-01-01Z')"""
    )
    assert await clean_table(resources, DataKind.WEBHOOKS, NOW, Bounds(10, FOREVER)) == counts(0, 0)
    assert count(demo, DataKind.WEBHOOKS) == 1


async def test_payloads_of_handled_webhooks_are_removed_and_their_rows_kept(resources: Resources, demo: Demo) -> None:
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, handled_at, outcome, payload)
           SELECT 'a.myshopify.com', coalesce(outcome, 'new'), 'orders/paid', handled_at, outcome, '{}'
           FROM (VALUES ('applied', CAST(%s AS timestamptz)), ('dead', %s), ('discarded', %s), (NULL, NULL))
           AS w (outcome, handled_at)""",
        [MONTH_AGO - TINY] * 3,
    )
    bounds = Bounds(1, FOREVER)
    dry = await clean_table(resources, DataKind.PAYLOADS, MONTH_AGO, Bounds(1, FOREVER, dry_run=True))
    assert dry == counts(2, 0)
    assert await clean_table(resources, DataKind.PAYLOADS, MONTH_AGO, bounds) == counts(2, 2)
    assert await clean_table(resources, DataKind.PAYLOADS, MONTH_AGO, bounds) == counts(0, 0)
    kept = "SELECT webhook_id FROM webhook_events WHERE payload = '{}' ORDER BY 1"
    assert demo.execute(kept).fetchall() == [("dead",), ("new",)]
    assert await clean_table(resources, DataKind.WEBHOOKS, MONTH_AGO, bounds) == counts(2, 2)
    assert count(demo, DataKind.WEBHOOKS) == 2


async def test_orders_are_deleted_with_settled_line_items_and_the_decisions_of_people_stay(
    resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE orders, unmatched_lines")
    old, new = MONTH_AGO - TINY, MONTH_AGO
    lines = [("open", None), ("dismissed", NOW), ("cancelled", None), ("refunded", None)]
    for number, seen_at in ((1, old), (2, new), (3, old), (4, old)):
        demo.execute("INSERT INTO orders (shop_id, order_id, seen_at) VALUES (1, %s, %s)", [number, seen_at])
        for place, (name, dismissed_at) in enumerate(lines if number < 3 else ()):
            status = name if name in {"cancelled", "refunded"} else "confirmed"
            demo.execute(
                """INSERT INTO unmatched_lines (shop_id, order_id, line_item_id, order_name, product_title, ordered,
                       quantity, unit_price, status, claim, reason, anonymous, dismissed_at, purchaser_name)
                   VALUES (1, %s, %s, '', %s, 1, 1, 1, %s, '', '', false, %s, 'Ada')""",
                [number, 10 * number + place, name, status, dismissed_at],
            )
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, Bounds(9, FOREVER, dry_run=True)) == counts(3, 0)
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, Bounds(2, FOREVER)) == counts(3, 3)
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, Bounds(2, FOREVER)) == counts(0, 0)
    assert demo.execute("SELECT order_id FROM orders").fetchall() == [(2,)]
    columns = "order_id, product_title, purchaser_name"
    left = demo.execute(f"SELECT {columns} FROM unmatched_lines ORDER BY line_item_id".encode()).fetchall()  # noqa: S608
    assert left == [(1, "open", "Ada"), (1, "dismissed", None), *((2, name, "Ada") for name, _ in lines)]
    demo.execute("TRUNCATE orders, unmatched_lines")


async def test_products_and_stock_are_deleted_once_no_registry_wishes_for_them(
    resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE product_versions, inventory_items, inventory_levels")
    [(product, item)] = demo.execute(
        "SELECT product_id, inventory_item_id FROM registry_items WHERE shop_id = 1 ORDER BY id LIMIT 1"
    ).fetchall()
    old, new = MONTH_AGO - TINY, MONTH_AGO
    for shop, number, said in ((1, product, old), (2, product, old), (1, 1, old), (1, 2, new)):
        demo.execute("INSERT INTO product_versions VALUES (%s, %s, %s, %s, 0)", [shop, number, said, said])
    times: Any = ((1, item, old, None), (2, item, None, old), (1, 1, None, None), (1, 2, old, new), (1, 3, old, old))
    for shop, number, *said in times:
        columns = "shop_id, inventory_item_id, updated_at, levels_read_at"
        values = [shop, number, *said]
        demo.execute(f"INSERT INTO inventory_items ({columns}) VALUES (%s, %s, %s, %s)".encode(), values)  # noqa: S608
        demo.execute("INSERT INTO inventory_levels VALUES (%s, %s, 7, 5, %s, %s)", [shop, number, old, old])
    assert await clean_table(resources, DataKind.PRODUCTS, MONTH_AGO, Bounds(1, FOREVER)) == counts(2, 2)
    assert await clean_table(resources, DataKind.STOCK, MONTH_AGO, Bounds(2, FOREVER)) == counts(3, 3)
    assert demo.execute("SELECT shop_id, product_id FROM product_versions ORDER BY 2").fetchall() == [
        (1, 2), (1, product)
    ]  # fmt: skip
    for table in ("inventory_items", "inventory_levels"):
        left = demo.execute(f"SELECT shop_id, inventory_item_id FROM {table} ORDER BY 2".encode()).fetchall()  # noqa: S608
        assert left == [(1, 2), (1, item)]
    demo.execute("TRUNCATE product_versions, inventory_items, inventory_levels")


async def test_the_oldest_rows_are_deleted_first(resources: Resources, demo: Demo) -> None:
    for days in (40, 60, 50):
        add(demo, DataKind.AUDIT, NOW - timedelta(days=days))
    rounds = 0

    async def stop_at_the_second(_done: int, _total: int) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise RunStopped

    with pytest.raises(RunStopped):
        await clean_table(resources, DataKind.AUDIT, MONTH_AGO, Bounds(1, FOREVER), checkpoint=stop_at_the_second)
    assert demo.execute("SELECT min(created_at) FROM audit_logs").fetchone() == (NOW - timedelta(days=50),)


async def test_progress_is_reported_between_batches(resources: Resources, demo: Demo) -> None:
    add(demo, DataKind.AUDIT, MONTH_AGO - TINY, 25)
    progress_calls: list[tuple[int, int]] = []

    async def record(done: int, total: int) -> None:
        progress_calls.append((done, total))

    await clean_table(resources, DataKind.AUDIT, MONTH_AGO, Bounds(10, FOREVER), checkpoint=record)
    assert progress_calls == [(0, 25), (10, 25), (20, 25), (25, 25)]


async def test_after_the_deadline_no_batch_starts_and_the_rest_is_counted(
    resources: Resources, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(demo, DataKind.AUDIT, MONTH_AGO - TINY, 25)
    now = until = datetime.now(UTC)

    async def take_long_over_the_second(done: int, _total: int) -> None:
        nonlocal now
        now = until if done else now

    now -= timedelta(seconds=1)
    monkeypatch.setattr(expired, "datetime", SimpleNamespace(now=lambda _: now))
    bounds = Bounds(10, until)
    cleaned = await clean_table(resources, DataKind.AUDIT, MONTH_AGO, bounds, checkpoint=take_long_over_the_second)
    assert cleaned == counts(25, 20)
    assert await clean_table(resources, DataKind.AUDIT, MONTH_AGO, bounds) == counts(5, 0)


async def test_two_concurrent_runs_share_the_work(resources: Resources, demo: Demo) -> None:
    add(demo, DataKind.AUDIT, MONTH_AGO - TINY, 200)
    both_there = asyncio.Barrier(2)

    async def begin_together(done: int, _total: int) -> None:
        if done <= 10:
            await both_there.wait()

    bounds = Bounds(10, FOREVER)
    first, second = await asyncio.gather(
        *(clean_table(resources, DataKind.AUDIT, MONTH_AGO, bounds, checkpoint=begin_together) for _ in range(2))
    )
    assert first["deleted"] + second["deleted"] == 200
    assert min(first["deleted"], second["deleted"]) > 0
    assert count(demo, DataKind.AUDIT) == 0


async def test_files_that_another_run_deletes_meanwhile_are_not_left(resources: Resources) -> None:
    for number in range(3):
        resources.files.write(f"{RUNS}/another-{number}", "report.html", b"")

    async def delete_first(_deleted: int, old: int) -> None:
        assert resources.files.delete_runs("") == old

    cleaned = await clean_files(resources, DataKind.FILES, FOREVER, Bounds(10, FOREVER), checkpoint=delete_first)
    assert (cleaned["old"] >= 3, cleaned["deleted"], cleaned["left"]) == (True, 0, 0)


async def test_locked_rows_are_skipped_without_waiting_and_counted(resources: Resources, demo: Demo) -> None:
    add(demo, DataKind.AUDIT, MONTH_AGO - TINY, 25)
    with demo.transaction():
        demo.execute("SELECT FROM audit_logs ORDER BY id LIMIT 5 FOR UPDATE")
        assert await clean_table(resources, DataKind.AUDIT, MONTH_AGO, Bounds(10, FOREVER)) == counts(25, 20)
    assert await clean_table(resources, DataKind.AUDIT, MONTH_AGO, Bounds(10, FOREVER)) == counts(5, 5)


async def test_orders_of_a_shop_are_kept_while_a_dead_letter_about_orders_may_be_replayed(
    resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE orders, unmatched_lines")
    demo.execute(
        "INSERT INTO orders (shop_id, order_id, seen_at) SELECT n, n, %s FROM generate_series(1, 2) n",
        [MONTH_AGO - TINY],
    )
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, received_at, handled_at, outcome)
           SELECT domain, 'w', CASE id WHEN 1 THEN 'orders/updated' ELSE 'products/update' END, %s, now(), 'dead'
           FROM shops WHERE id IN (1, 2)""",
        [MONTH_AGO - TINY],
    )
    bounds = Bounds(10, FOREVER)
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, bounds) == counts(1, 1)
    demo.execute("UPDATE webhook_events SET outcome = NULL, handled_at = NULL")  # it is replayed, and waits
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, bounds) == counts(0, 0)
    demo.execute("UPDATE webhook_events SET outcome = 'discarded', handled_at = now()")
    assert await clean_table(resources, DataKind.ORDERS, MONTH_AGO, bounds) == counts(1, 1)
