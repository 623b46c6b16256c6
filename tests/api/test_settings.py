import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import JSON, SHOP, Shopper, app_state_of, problem, public_slug
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.shops.settings import change_settings, has_outdated_entries
from wishcraft.settings import Settings
from wishcraft.store import locks
from wishcraft.store.audit_log import Actor
from wishcraft.store.schema import ShopSettings

SETTINGS = "/api/admin/settings"
DEFAULTS = ShopSettings().model_dump()


@pytest.fixture
def default_link(settings: Settings) -> str:
    """The template of a shop without one of its own: a page of the simulator's app proxy."""
    return f"{settings.shopify_origin.format(shop=SHOP)}/apps/registry/r/{{slug}}"


@pytest.fixture
def merchant(token: Callable[..., dict[str, str]], demo: Demo) -> dict[str, str]:
    """The headers of the merchant of `SHOP`, which has the default settings."""
    demo.execute("UPDATE shops SET settings = '{}' WHERE id = 1")
    return token() | JSON


async def change(client: httpx.AsyncClient, merchant: dict[str, str], if_match: str = "*", **values: Any) -> Any:
    """The answer to a change."""
    return await client.patch(SETTINGS, json=values, headers=merchant | {"If-Match": if_match})


def audited(demo: Demo) -> list[tuple[Any, ...]]:
    query = (
        "SELECT shop_id, actor, resource, resource_id, metadata, host(ip) FROM audit_logs"
        " WHERE action = 'settings.changed' ORDER BY id"
    )
    return demo.execute(query).fetchall()


async def test_settings_are_shown_and_changed_with_an_audit_entry(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, default_link: str
) -> None:
    shown = await client.get(SETTINGS, headers=merchant)
    assert shown.json() == DEFAULTS | {"effective_share_url": default_link}
    changed = await change(client, merchant, shown.headers["etag"], low_stock_threshold=3, email_notifications=False)
    assert changed.json() == shown.json() | {"low_stock_threshold": 3, "email_notifications": False}
    again = await client.get(SETTINGS, headers=merchant)
    assert (again.json(), again.headers["etag"]) == (changed.json(), changed.headers["etag"])
    before, after = {"low_stock_threshold": 5, "email_notifications": True}, {"low_stock_threshold": 3}
    details = {"before": before, "after": after | {"email_notifications": False}}
    assert audited(demo) == [(1, "admin:1:42", "shop", "1", details, "127.0.0.1")]


async def test_settings_show_the_share_link_that_is_in_use_and_can_be_sent_back(
    client: httpx.AsyncClient, merchant: dict[str, str], emma: Shopper, default_link: str
) -> None:
    slug = await emma.create()
    own = "https://www.maple.example/gifts?list={slug}"
    for share_url, effective in ((own, own), (None, default_link)):
        changed = (await change(client, merchant, share_url=share_url)).json()
        assert (changed["share_url"], changed["effective_share_url"]) == (share_url, effective)
        assert (await emma.read(slug)).json()["share_url"] == effective.replace("{slug}", slug)
        again = await change(client, merchant, **changed)
        assert (again.status_code, again.json()) == (200, changed)


async def test_addresses_of_mails_can_be_set_and_cleared(client: httpx.AsyncClient, merchant: dict[str, str]) -> None:
    own = {
        "reply_to": "Help.desk+a@shop.maple.example",
        "mail_from": "gifts@maple.example",
        "postal_address": "1 Straße, 東京",
    }
    for values in (own, dict.fromkeys(own)):
        changed = (await change(client, merchant, **values)).json()
        assert {name: changed[name] for name in own} == values


async def test_change_needs_the_current_etag(client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo) -> None:
    etag = (await client.get(SETTINGS, headers=merchant)).headers["etag"]
    without = await client.patch(SETTINGS, json={"low_stock_threshold": 3}, headers=merchant)
    assert problem(without) == (428, "precondition-required")
    assert (await change(client, merchant, etag, low_stock_threshold=3)).status_code == 200
    assert problem(await change(client, merchant, etag, low_stock_threshold=4)) == (412, "changed-since")
    assert len(audited(demo)) == 1


INVALID: list[dict[str, Any]] = [
    {"gift_messages": True}, {"low_stock_threshold": -1}, {"low_stock_threshold": 1_000_000},
    {"low_stock_threshold": "3"}, {"low_stock_threshold": 3.5}, {"low_stock_threshold": None},
    {"low_stock_threshold": True}, {"email_notifications": 1}, {"email_notifications": "yes"},
    {"max_items_per_registry": 0}, {"max_items_per_registry": 1001}, {"cache_quota_entries": -1},
    {"cache_quota_entries": 10_000_001}, {"cache_quota_bytes": 2**40 + 1}, {"brand_colour": "red"},
    {"brand_colour": "#12345"}, {"brand_colour": "#123456\n"}, {"reply_to": "a@b"},
    {"reply_to": "Emma <a@b.example>"}, {"reply_to": "a@b.example\n"}, {"reply_to": "a..b@c.example"},
    {"reply_to": "a@b.example, c@d.example"}, {"mail_from": "a@b"},
    {"mail_from": "Emma <a@b.example>"}, {"postal_address": ""}, {"postal_address": "x" * 301},
    {"postal_address": "1 Street\nTown"}, {"postal_address": "1 Street\0"},
    {"low_stock_threshold": 3, "shop_id": 2},
]  # fmt: skip


async def test_invalid_setting_is_refused_and_nothing_changes(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    for values in INVALID:
        assert problem(await change(client, merchant, **values)) == (422, "invalid-request"), values
        assert (await client.get(SETTINGS, headers=merchant)).json().items() >= DEFAULTS.items(), values
    assert audited(demo) == []


async def test_change_without_a_difference_has_no_version_and_no_entry(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    etag = (await client.get(SETTINGS, headers=merchant)).headers["etag"]
    assert (await change(client, merchant, etag)).headers["etag"] == etag
    assert (await change(client, merchant, etag, low_stock_threshold=5)).headers["etag"] == etag
    assert audited(demo) == []


async def test_settings_are_for_the_administrator_alone(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, guest: Shopper, emma: Shopper
) -> None:
    for shopper in (guest, emma):
        for method in ("GET", "PATCH"):
            assert problem(await shopper.send(method, SETTINGS, {}, if_match="*")) == (403, "not-allowed")
    writer, administrator = ({"X-API-Key": add_key(demo, 1).key} for _ in range(2))
    for key, scope in ((writer, "write"), (administrator, "admin")):
        prefix = key["X-API-Key"].split("_")[1]
        demo.execute("UPDATE api_keys SET scopes = %s WHERE prefix = %s", [[scope], prefix])
    assert problem(await client.get(SETTINGS, headers=writer)) == (403, "not-allowed")
    assert (await client.get(SETTINGS, headers=administrator)).status_code == 200
    assert (await change(client, administrator, low_stock_threshold=3)).status_code == 200


async def test_new_threshold_changes_the_stock_levels_that_guests_see_at_once(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, guest: Shopper, emma: Shopper
) -> None:
    slug = public_slug(demo)
    demo.execute("UPDATE registries SET customer_id = %s WHERE slug = %s", [emma.customer_id, slug])
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 50")
    demo.execute(
        "UPDATE registry_items SET inventory_quantity = 8, status = 'active'"
        " WHERE registry_id = (SELECT id FROM registries WHERE slug = %s)",
        [slug],
    )
    first = await guest.read(slug)
    assert {item["stock"] for item in first.json()["items"]} == {"in_stock"}
    await change(client, merchant, low_stock_threshold=8)
    answer = await guest.read(slug, if_none_match=first.headers["etag"])
    assert {item["stock"] for item in answer.json()["items"]} == {"low"}
    assert answer.headers["x-cache"] == "hit"
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "New"}, if_match=first.headers["etag"])
    assert changed.status_code == 200  # who edits the registry meanwhile is not refused
    await change(client, merchant, low_stock_threshold=7)
    assert {item["stock"] for item in (await guest.read(slug)).json()["items"]} == {"in_stock"}
    assert demo.execute("SELECT outdated_stock FROM shops WHERE id = 1").fetchone() == (None,)


async def test_lower_quota_evicts_the_least_viewed_at_once(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, guest: Shopper
) -> None:
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active'"
    slugs = [slug for (slug,) in demo.execute(query).fetchall()]
    assert len(slugs) > 1
    for slug in slugs:
        await guest.read(slug)
    usage = app_state_of(client).resources.usage
    assert (await usage.read([1]))[1].entries == len(slugs)
    await change(client, merchant, cache_quota_entries=1)
    assert (await usage.read([1]))[1].entries == 1
    await change(client, merchant, cache_quota_bytes=0)
    assert (await usage.read([1]))[1].entries == 0
    for _ in range(2):
        assert (await guest.read(slugs[0])).headers["x-cache"] == "miss"
    await change(client, merchant, cache_quota_entries=10, cache_quota_bytes=10**6)
    assert [(await guest.read(slugs[0])).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]


async def test_process_that_ends_does_not_wait_until_another_has_replaced_entries(
    client: httpx.AsyncClient, demo: Demo, resources: Resources
) -> None:
    app_state = app_state_of(client)
    demo.execute("""UPDATE shops SET settings = '{"low_stock_threshold": 3}' WHERE id = 1""")
    await change_settings(resources, Actor(1, "test"), {"low_stock_threshold": 8})
    async with locks.acquire(resources.db, "stock-levels", 1):
        replacing = app_state.start_task(app_state.replace_outdated_entries(1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await app_state.stop(seconds=0)
        assert replacing.cancelled()
    assert await has_outdated_entries(resources, 1)  # for the next process, or check-invariants
