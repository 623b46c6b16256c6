import json
from datetime import date
from typing import Any

import pytest
from annotated_types import Ge, Le
from prefect import State
from prefect.utilities.callables import parameter_schema

from flows.audit_trail import audit_trail
from flows.shop_settings import shop_settings
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import artifacts_of, summary_of, table_of
from wishcraft.settings import Settings
from wishcraft.store.schema import ShopSettings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP = "maple-and-pine.myshopify.com"


@pytest.fixture(autouse=True)
def _defaults(demo: Demo) -> None:
    """The shop has the default settings and an empty audit log."""
    demo.execute("UPDATE shops SET settings = '{}'")
    demo.execute("TRUNCATE audit_logs")


def is_refused(state: State[Any], reason: str) -> bool:
    return state.name == "Refused" and reason in str(state.message)


async def test_settings_are_shown_without_a_change(demo: Demo, settings: Settings) -> None:
    state = await shop_settings(SHOP, return_state=True)
    assert state.message == f"{SHOP}: nothing to change."
    rows = await table_of(state)
    assert {row["setting"]: row["before"] for row in rows} == {row["setting"]: row["after"] for row in rows}
    assert [row["setting"] for row in rows] == list(ShopSettings.model_fields)
    assert all(row["meaning"] for row in rows)
    assert "536,870,912 (512 MiB)" in [row["after"] for row in rows]
    page = await summary_of(state)
    assert "| low_stock_threshold | 5 | 5 |" in page
    link = f"default: {settings.shopify_origin.format(shop=SHOP)}/apps/registry/r/{{slug}}"
    assert f"| share_url | {link} | {link} |" in page
    assert demo.execute("SELECT FROM audit_logs").fetchall() == []


async def test_changed_settings_are_shown_before_and_after_and_are_audited_with_the_run(demo: Demo) -> None:
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 8, status = 'active'")
    state = await shop_settings(SHOP, email_notifications="off", low_stock_threshold=8, return_state=True)
    assert state.is_completed(), state.message
    assert str(state.message).startswith(f"{SHOP}: 2 settings changed. ")
    assert str(state.message).endswith(" registries show the change.")
    [artifact] = await artifacts_of(state, "table")
    rows = json.loads(str(artifact.data))
    changed = {row["setting"]: (row["before"], row["after"]) for row in rows if row["before"] != row["after"]}
    assert changed == {"email_notifications": ("on", "off"), "low_stock_threshold": ("5", "8")}
    assert artifact.key == "shop-settings"
    page = await summary_of(state)
    assert "| low_stock_threshold | 5 | **8** |" in page
    assert "| max_items_per_registry | 100 | 100 |" in page
    [(actor, details)] = demo.execute("SELECT actor, metadata FROM audit_logs").fetchall()
    assert actor == "shop-settings"
    assert details["run"] == str(state.state_details.flow_run_id)
    assert details["after"] == {"email_notifications": False, "low_stock_threshold": 8}
    again = await shop_settings(SHOP, low_stock_threshold=8, return_state=True)
    assert again.message == f"{SHOP}: these values were set before."
    assert len(demo.execute("SELECT FROM audit_logs").fetchall()) == 1


async def test_addresses_of_mails_are_set_and_cleared_in_the_form(demo: Demo) -> None:
    own = {
        "reply_to": "help@maple.example",
        "postal_address": "1 Main Street",
        "mail_from": "gifts@maple.example",
    }
    for given in (own, dict.fromkeys(own, "default")):
        state = await shop_settings(SHOP, **given, return_state=True)
        assert str(state.message).startswith(f"{SHOP}: 3 settings changed.")
        query = "SELECT settings ->> 'reply_to', settings ->> 'postal_address', settings ->> 'mail_from' FROM shops"
        assert demo.execute(f"{query} WHERE id = 1").fetchone() == (
            tuple(own.values()) if given is own else (None,) * 3
        )


async def test_run_counts_the_one_registry_that_shows_a_change(demo: Demo) -> None:
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 50, status = 'active'")
    demo.execute(
        """UPDATE registry_items SET inventory_quantity = 8
           WHERE id = (SELECT min(i.id) FROM registry_items i JOIN registries r ON r.id = i.registry_id
                       WHERE r.shop_id = 1 AND r.status = 'active')"""
    )
    state = await shop_settings(SHOP, low_stock_threshold=8, return_state=True)
    assert state.message == f"{SHOP}: 1 setting changed. 1 registry shows the change."


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("", "no shop is named: choose one such as"),
        ("unknown.myshopify.com", "no active shop has the domain"),
        ("lumiere-maison", "no active shop has the domain"),
    ],
)
async def test_unknown_shop_is_refused_by_both_jobs(domain: str, reason: str) -> None:
    assert is_refused(await shop_settings(domain, return_state=True), reason)
    assert is_refused(await audit_trail(domain, return_state=True), reason)


def test_form_of_shop_settings_has_every_setting_with_its_limits() -> None:
    form = parameter_schema(shop_settings).properties
    assert list(form) == ["shop", *ShopSettings.model_fields]
    for name, field in ShopSettings.model_fields.items():
        limits = {type(each): each for each in field.metadata}
        if Ge in limits:
            [number] = [each for each in form[name]["anyOf"] if each["type"] == "integer"]
            assert (number["minimum"], number["maximum"]) == (limits[Ge].ge, limits[Le].le)


async def test_audit_trail_shows_the_shops_entries_by_filter_without_addresses(demo: Demo) -> None:
    changed = await shop_settings(SHOP, email_notifications="off", cache_quota_bytes=2**20, return_state=True)
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, metadata, ip, user_agent)
           VALUES (1, 'key:a', 'item.changed', 'registry', '7',
                   '{"item": 5, "fields": ["notes", "quantity"], "customer": 4711}', '203.0.113.9', 'UA'),
                  (1, 'check-invariants', 'cache.repaired', 'shop', '1', '{"slugs": ["emma-and-hugo"]}', NULL, NULL),
                  (2, 'key:b', 'item.changed', 'registry', '8', '{}', '203.0.113.9', 'UA')"""
    )
    state = await audit_trail(SHOP, return_state=True)
    assert str(state.message).startswith(f"{SHOP}: 3 entries, the newest of ")
    rows = await table_of(state)
    assert [(row["actor"], row["details"]) for row in rows] == [
        ("check-invariants", "slugs: 1"),
        ("key:a", "item: 5; fields: notes, quantity; customer: 4711"),
        (
            "shop-settings",
            "cache_quota_bytes: 536,870,912 (512 MiB) → 1,048,576 (1 MiB); email_notifications: on → off",
        ),
    ]
    page = await summary_of(state)
    assert f"/runs/flow-run/{changed.state_details.flow_run_id})" in page
    assert not any(private in f"{page} {rows}" for private in ("203.0.113.9", "UA", "emma", "key:b"))
    one = await audit_trail(SHOP, actor="key:a", action="", resource="registry", resource_id="7", return_state=True)
    assert [row["actor"] for row in await table_of(one)] == ["key:a"]
    assert "There are more" in str((await audit_trail(SHOP, limit=1, return_state=True)).message)


async def test_audit_trail_covers_whole_days_of_the_time_zone(demo: Demo) -> None:
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, created_at)
           VALUES (1, 'late', 'a', 'r', '1', '2026-03-15 23:59:59 America/New_York'),
                  (1, 'early', 'a', 'r', '1', '2026-03-15 00:00:00 America/New_York'),
                  (1, 'next', 'a', 'r', '1', '2026-03-16 00:00:00 America/New_York')"""
    )
    day = date(2026, 3, 15)
    state = await audit_trail(SHOP, first_day=day, last_day=day, return_state=True)
    assert [row["actor"] for row in await table_of(state)] == ["late", "early"]
    never = await audit_trail(SHOP, first_day=date(2001, 1, 1), last_day=date(2001, 1, 1), return_state=True)
    assert never.message == f"{SHOP}: no entry."


async def test_audit_trail_names_a_filter_that_nothing_has_but_not_its_value(
    demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id)
           SELECT 1, 'key:' || n, 'action.' || 10 + n, 'r', '1' FROM generate_series(0, 30) AS n
           UNION ALL VALUES (1, 'admin:1:42', 'action.10', 'r', '1'), (2, 'stranger', 'a@example.com', 's', '1')"""
    )
    nope = await audit_trail(SHOP, actor="emma@example.com", action="a@example.com", resource="r", return_state=True)
    assert nope.message == f"{SHOP}: no entry, of any time, has the given actor or the given action."
    page = await summary_of(nope)
    assert "- kinds of actors: admin, key\n- actions: action.10, " in page
    assert "action.39 and more" in page
    assert not any(value in f"{page} {caplog.text}" for value in ("example.com", "stranger", "key:", "action.40"))
    known = await audit_trail(SHOP, actor="key:1", action="action.10", return_state=True)
    assert known.message == f"{SHOP}: no entry."


async def test_audit_trail_refuses_what_it_cannot_look_up() -> None:
    backwards = await audit_trail(SHOP, first_day=date(2026, 3, 2), last_day=date(2026, 3, 1), return_state=True)
    assert is_refused(backwards, "is after the last")
    assert is_refused(await audit_trail(SHOP, resource_id="7", return_state=True), "needs a resource")
