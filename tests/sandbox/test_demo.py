import json
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.demo import seed, write_demo_info
from deployments.sandbox.demo_history import HistoryGenerator
from deployments.sandbox.demo_rows import ACCESS_CODE, ShopRowGenerator
from tests.support.aliases import Demo
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.settings import Settings

TODAY = date(2026, 3, 14)


def rows(today: date = TODAY, seed: int = 7) -> Any:
    return ShopRowGenerator(DEMO_SHOPS[0], seed, today, 0).generate(range(30))


def test_same_seed_and_day_generate_the_same_rows() -> None:
    assert rows() == rows()
    assert rows(seed=8) != rows()
    first, again, other = (
        HistoryGenerator(DEMO_SHOPS[0], seed, TODAY).generate(rows().registries) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_purchased_quantity_is_the_sum_of_live_purchases(demo: Demo) -> None:
    drifted = demo.execute(
        """SELECT i.id FROM registry_items i LEFT JOIN purchases p
               ON p.item_id = i.id AND p.status IN ('pending', 'confirmed')
           GROUP BY i.id HAVING i.quantity_purchased <> coalesce(sum(p.quantity), 0)"""
    ).fetchall()
    assert drifted == []


def test_default_size_has_every_kind_of_registry(demo: Demo, settings: Settings) -> None:
    demo.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")
    assert seed(settings, 200, 2026, TODAY)
    assert demo.execute("SELECT count(*) FROM registries").fetchone() == (200,)
    [(items,)] = demo.execute("SELECT count(*) FROM registry_items").fetchall()
    assert 2_500 < items < 3_500
    for column, kinds in (("visibility", 4), ("status", 4), ("event_type", 8)):
        assert demo.execute(f"SELECT count(DISTINCT {column}) FROM registries").fetchone() == (kinds,)  # noqa: S608
    [(zones, currencies)] = demo.execute(
        "SELECT count(DISTINCT timezone), count(DISTINCT currency) FROM shops"
    ).fetchall()
    assert (zones, currencies) == (3, 3)


def test_reminders_are_due_on_the_day_of_the_data(demo: Demo) -> None:
    due = demo.execute(
        "SELECT event_date - %s FROM registries WHERE status = 'active' AND event_date - %s IN (1, 7)", [TODAY, TODAY]
    ).fetchall()
    assert {days for (days,) in due} == {1, 7}


@pytest.mark.parametrize(
    ("table", "past", "kept"),
    [
        ("audit_logs", "created_at < %s - interval '30 days'", "created_at > %s - interval '30 days'"),
        ("audit_logs", "starts_with(action, 'compliance.') AND created_at < %s - interval '730 days'",
         "action = 'shop/redact' AND created_at < %s - interval '30 days'"),
        ("webhook_events", "handled_at < %s - interval '30 days'",
         "handled_at > %s - interval '30 days'"),
        ("analytics_events", "occurred_at < %s - interval '400 days'", "occurred_at > %s - interval '400 days'"),
        ("sessions", "expires_at < %s", "expires_at > %s"),
    ],
)  # fmt: skip
def test_cleanups_have_rows_to_delete_and_rows_to_keep(demo: Demo, table: str, past: str, kept: str) -> None:
    for condition in (past, kept):
        query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608  constants of this file
        [(count,)] = demo.execute(query.encode(), [TODAY]).fetchall()
        assert count > 0, condition


def test_database_with_shops_is_not_seeded(demo: Demo, settings: Settings) -> None:
    before = demo.execute("SELECT count(*) FROM registries").fetchone()
    assert not seed(settings, 200, 2026, TODAY)
    assert demo.execute("SELECT count(*) FROM registries").fetchone() == before


def test_new_rows_get_ids_after_those_of_the_demo_data(demo: Demo) -> None:
    last = demo.execute("SELECT max(id) FROM registry_items").fetchone()
    following = demo.execute("SELECT nextval(pg_get_serial_sequence('registry_items', 'id'))").fetchone()
    assert last
    assert following == (last[0] + 1,)


def test_access_codes_are_stored_as_hashes() -> None:
    hashes = {registry["access_code_hash"] for registry in rows().registries} - {None}
    assert hashes
    assert all(each.startswith("$argon2id$") and ACCESS_CODE not in each for each in hashes)


def test_demo_info_keeps_valid_keys_and_replaces_revoked_ones(demo: Demo, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    file.write_text('{"shops": [')  # as a full disk leaves it
    write_demo_info(settings, file)
    first = json.loads(file.read_text())["shops"]
    assert [shop["domain"] for shop in first] == [shop.domain for shop in DEMO_SHOPS]
    assert all(shop["registries"] for shop in first)
    owners = [
        demo.execute("SELECT customer_id FROM registries WHERE slug = %s", [shop["registries"][0]]) for shop in first
    ]
    assert [owner.fetchone() for owner in owners] == [(shop["customer_id"],) for shop in first]
    demo.execute("UPDATE api_keys SET revoked_at = now() WHERE shop_id = 1")
    write_demo_info(settings, file)
    second = json.loads(file.read_text())["shops"]
    assert second[0]["api_key"] != first[0]["api_key"]
    assert second[1:] == first[1:]
    file.unlink()
    write_demo_info(settings, file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_demo_events_are_in_a_plausible_order(demo: Demo, settings: Settings) -> None:
    demo.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")
    assert seed(settings, 200, 2026, TODAY)
    for impossible in (
        "SELECT FROM registry_items i JOIN registries r ON r.id = i.registry_id WHERE i.created_at < r.created_at",
        "SELECT FROM purchases p JOIN registries r ON r.id = p.registry_id WHERE p.created_at < r.created_at",
        "SELECT FROM purchases p JOIN registries r ON r.id = p.registry_id WHERE p.created_at::date > r.event_date",
        "SELECT FROM purchases WHERE created_at > '2026-03-14T12:00Z'",
        "SELECT FROM analytics_events WHERE occurred_at > '2026-03-14T12:05Z'",
        """SELECT FROM analytics_events e LEFT JOIN registry_items i ON i.id = (e.data ->> 'item_id')::bigint
           WHERE e.data ? 'item_id' AND (i.registry_id IS DISTINCT FROM e.registry_id
               OR i.variant_id <> (e.data ->> 'variant_id')::bigint)""",
        "SELECT FROM reminders m JOIN registries r ON r.id = m.registry_id WHERE r.event_date >= '2026-03-14'",
    ):
        assert demo.execute(impossible.encode()).fetchall() == [], impossible


def test_demo_data_has_every_case_that_reports_show(demo: Demo, settings: Settings) -> None:
    demo.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")
    assert seed(settings, 200, 2026, TODAY)
    for interesting in (
        """SELECT FROM registry_items GROUP BY registry_id HAVING min(quantity_purchased - quantity_wanted) = 0""",
        "SELECT FROM purchases GROUP BY order_id HAVING count(*) > 1",
        "SELECT FROM purchases GROUP BY registry_id, purchaser_email HAVING count(DISTINCT order_id) > 1",
        """SELECT FROM registries r WHERE event_date < '2026-03-14'
           AND NOT EXISTS (SELECT FROM reminders WHERE registry_id = r.id)""",
        "SELECT FROM reminders WHERE kind = '7_days'",
        *(f"SELECT FROM analytics_events WHERE type = '{kind}'" for kind in AnalyticsType),
    ):
        assert len(demo.execute(interesting.encode()).fetchall()) > 5, interesting


def test_some_co_registrants_wait_for_their_invitation_and_all_others_have_confirmed(
    demo: Demo, settings: Settings
) -> None:
    demo.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")
    assert seed(settings, 200, 2026, TODAY)
    found = demo.execute(
        """SELECT count(*) FILTER (WHERE i.state = 'pending' AND i.answer IS NULL AND r.event_date > %s),
               count(*) FILTER (WHERE i.state = 'sent' AND i.answer = 'confirmed'), count(*)
           FROM invitations i JOIN registries r ON r.id = i.registry_id""",
        [TODAY],
    ).fetchone()
    assert found
    waiting, confirmed, total = found
    assert (waiting >= 3, waiting + confirmed) == (True, total)
    [(people,)] = demo.execute("SELECT sum(1 + jsonb_array_length(co_registrants)) FROM registries").fetchall()
    assert people == total
    unasked = """SELECT count(*) FROM reminders WHERE (registry_id, recipient) NOT IN (
                     SELECT registry_id, recipient FROM invitations WHERE answer = 'confirmed')"""
    assert demo.execute(unasked).fetchone() == (0,)


def test_pictures_of_the_demo_items_are_in_the_simulator(demo: Demo) -> None:
    images = demo.execute("SELECT min(image) FROM registry_items GROUP BY shop_id").fetchall()
    assert len(images) == len(DEMO_SHOPS)
    for (image,) in images:
        answer = httpx.get(image)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
