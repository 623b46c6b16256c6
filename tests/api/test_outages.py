"""With one store down the other serves, and no change made meanwhile is lost or hidden afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
import psycopg
import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo import add_key
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo, OpenClient
from tests.support.api import SHOP, Shopper, app_state_of, open_api_client, problem, public_slug
from tests.support.failing_proxy import FailingProxy
from tests.support.outages import postgresql_unavailable, recovered
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.cache import entries, keys
from wishcraft.errors import CacheUnavailable
from wishcraft.settings import Settings

AT_ONCE = 20


@pytest.fixture
def records_minutes() -> bool:
    return True


@pytest.fixture
def api(client_on_own_valkey: httpx.AsyncClient) -> httpx.AsyncClient:
    return client_on_own_valkey


@pytest.mark.parametrize("how", ["hanging", "killed"])
async def test_reads_bypass_redis_while_it_is_down_and_hit_again_afterwards(
    api: httpx.AsyncClient, own_valkey: OwnValkey, demo: Demo, key: dict[str, str], how: str
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    before = [await api.get(url, headers=key) for _ in range(2)]
    assert before[1].headers["x-cache"] == "hit"
    own_valkey.pause() if how == "hanging" else own_valkey.kill()
    for _ in range(5):
        answers = await asyncio.gather(*(api.get(url, headers=key) for _ in range(AT_ONCE)))
        assert {(each.status_code, each.headers["x-cache"]) for each in answers} == {(200, "bypass")}
        assert {each.content for each in answers} == {before[0].content}
    own_valkey.resume() if how == "hanging" else await asyncio.to_thread(own_valkey.start)
    await recovered(api)
    after = [await api.get(url, headers=key) for _ in range(2)]
    assert after[1].headers["x-cache"] == "hit"


@pytest.mark.parametrize("how", ["hanging", "killed"])
async def test_write_without_redis_is_never_followed_by_a_stale_read(
    api: httpx.AsyncClient, own_valkey: OwnValkey, demo: Demo, signed: Callable[..., str], how: str
) -> None:
    emma, guest = Shopper(api, signed, 7_100_000_000_001), Shopper(api, signed)
    slug = await emma.create(title="Before")
    assert [(await guest.read(slug)).headers["x-cache"] for _ in range(2)] == ["hit", "hit"]
    own_valkey.pause() if how == "hanging" else own_valkey.kill()
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
    assert (changed.status_code, changed.json()["title"]) == (200, "After")
    own_valkey.resume() if how == "hanging" else await asyncio.to_thread(own_valkey.start)
    await recovered(api)
    read = [await guest.read(slug) for _ in range(2)]
    assert [each.json()["title"] for each in read] == ["After", "After"]
    assert read[1].headers["x-cache"] == "hit"
    assert demo.execute("SELECT slug FROM pending_invalidations").fetchall() == []


@pytest.mark.parametrize("how", ["hanging", "killed"])
async def test_products_are_looked_up_and_added_while_redis_is_down(
    api: httpx.AsyncClient, own_valkey: OwnValkey, simulator: Simulator, signed: Callable[..., str], how: str
) -> None:
    emma = Shopper(api, signed, 7_100_000_000_001)
    slug, (first, second, *_) = await emma.create(), simulator.shops[SHOP].inventory.variant_ids()
    own_valkey.pause() if how == "hanging" else own_valkey.kill()
    for number in (first, second):
        answer = await emma.send("GET", f"/api/products?ids={number}")
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "bypass")
    added = await emma.send("POST", f"/api/registries/{slug}/items", {"variant_id": first})
    assert (added.status_code, len(added.json()["items"])) == (201, 1)
    own_valkey.resume() if how == "hanging" else await asyncio.to_thread(own_valkey.start)
    await recovered(api)

    async def is_known() -> bool:
        return (await emma.send("GET", f"/api/products?ids={second}")).headers["x-cache"] == "hit"

    await wait_until(is_known)


@pytest.mark.parametrize("how", ["hanging", "killed"])
async def test_settings_changed_without_redis_are_in_use_once_it_is_back(
    api: httpx.AsyncClient, own_valkey: OwnValkey, demo: Demo, key: dict[str, str], how: str
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 8, status = 'active'")
    assert '"stock":"low"' not in [(await api.get(url, headers=key)).text for _ in range(2)][1]
    own_valkey.pause() if how == "hanging" else own_valkey.kill()
    changed = await api.patch(
        "/api/admin/settings",
        json={"low_stock_threshold": 8, "cache_quota_entries": 9},
        headers=key | {"If-Match": "*"},
    )
    assert (changed.status_code, changed.json()["low_stock_threshold"]) == (200, 8)
    assert '"stock":"low"' in (await api.get(url, headers=key)).text  # from PostgreSQL
    own_valkey.resume() if how == "hanging" else await asyncio.to_thread(own_valkey.start)
    await recovered(api)

    async def is_in_use() -> bool:
        answer = await api.get(url, headers=key)
        nothing_left = demo.execute("SELECT outdated_stock FROM shops WHERE id = 1").fetchone() == (None,)
        return nothing_left and '"stock":"low"' in answer.text and answer.headers["x-cache"] == "hit"

    await wait_until(is_in_use)


async def test_invalidation_missed_in_a_short_outage_is_replayed(
    api: httpx.AsyncClient, demo: Demo, signed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emma, guest = Shopper(api, signed, 7_100_000_000_001), Shopper(api, signed)
    slug = await emma.create(title="Before")
    assert (await guest.read(slug)).headers["x-cache"] == "hit"
    cache = app_state_of(api).resources.cache
    invalidated: list[Mapping[str, int]] = []
    invalidate = cache.invalidate

    async def miss_the_first(shop_id: int, versions: Mapping[str, int]) -> None:
        invalidated.append(versions)
        if len(invalidated) > 1:
            return await invalidate(shop_id, versions)
        raise CacheUnavailable("a moment of silence")

    monkeypatch.setattr(cache, "invalidate", miss_the_first)
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
    assert changed.json()["title"] == "After"
    assert (await guest.read(slug)).json()["title"] == "After"
    await recovered(api)
    assert (await guest.read(slug)).json()["title"] == "After"
    assert demo.execute("SELECT slug FROM pending_invalidations").fetchall() == []
    assert invalidated[:2] == [{slug: 2}, {slug: 2}]


async def test_pending_invalidation_of_a_dead_process_is_replayed_before_redis_is_used(
    api: httpx.AsyncClient, own_valkey: OwnValkey, demo: Demo, key: dict[str, str]
) -> None:
    slug = public_slug(demo)
    for _ in range(2):
        assert (await api.get(f"/api/registries/{slug}", headers=key)).json()["title"] != "After"
    own_valkey.pause()
    assert (await api.get(f"/api/registries/{slug}", headers=key)).headers["x-cache"] == "bypass"
    await change_in_another_process(api, demo, slug)  # which dies then
    own_valkey.resume()
    await recovered(api)
    assert (await api.get(f"/api/registries/{slug}", headers=key)).json()["title"] == "After"


async def test_lost_grant_and_wrong_code_are_distinguished_without_redis(
    api: httpx.AsyncClient, own_valkey: OwnValkey, signed: Callable[..., str]
) -> None:
    emma, guest = Shopper(api, signed, 7_100_000_000_001), Shopper(api, signed)
    slug = await emma.create(visibility="password", access_code="tulip-canoe-amber")
    own_valkey.kill()
    grant = (await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": "tulip-canoe-amber"})).json()[
        "grant"
    ]
    assert (await guest.read(slug, x_registry_grant=grant)).status_code == 200
    assert problem(await guest.read(slug, x_registry_grant="wrong")) == (403, "access-code-required")
    await asyncio.to_thread(own_valkey.start)


async def test_without_postgresql_hits_and_stale_entries_are_served_others_503(
    settings: Settings, demo: Demo, open_client: OpenClient, redis: Redis, signed: Callable[..., str]
) -> None:
    slugs = [slug for (slug,) in demo.execute(
        "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active'")]  # fmt: skip
    key = {"X-API-Key": add_key(demo, 1).key}
    async with open_client(settings) as client:
        for slug in slugs[:2]:
            assert (await client.get(f"/api/registries/{slug}", headers=key)).status_code == 200
        name = keys.entry_key(1, slugs[1])
        entry = entries.unpack(await redis.get(name) or b"")  # type: ignore[arg-type]  # responses are not decoded
        assert entry
        await redis.set(
            name, entries.pack(entry._replace(header=replace(entry.header, soft_expiry_ms=1))), keepttl=True
        )
        emma = Shopper(client, signed, 7_100_000_000_001)
        assert (await emma.send("GET", "/api/my-registries")).status_code == 200
        with postgresql_unavailable(settings):
            hit = await client.get(f"/api/registries/{slugs[0]}", headers=key)
            stale = await client.get(f"/api/registries/{slugs[1]}", headers=key)
            await app_state_of(client).stop()
            again = await client.get(f"/api/registries/{slugs[1]}", headers=key)
            listed = await client.get("/api/registries", headers=key)
            created = await emma.send("POST", "/api/registries", {"title": "T", "event_type": "baby", "registrant": {
                "first_name": "A", "last_name": "B", "email": "a@example.com"}})  # fmt: skip
            missed = await client.get("/api/registries/never-seen-before", headers=key)
        assert hit.headers["x-cache"] in {"hit", "stale"}  # its permit is valid for a second
        assert [each.headers["x-cache"] for each in (stale, again)] == ["stale", "stale"]
        for refused in (listed, created, missed):
            assert problem(refused) == (503, "unavailable")
            assert refused.headers["retry-after"] == "5"
        assert (await client.get("/api/registries", headers=key)).status_code == 200


async def test_hanging_postgresql_costs_a_reader_at_most_two_seconds(
    through_proxy: Settings, demo: Demo, key: dict[str, str], postgresql: FailingProxy
) -> None:
    slug = public_slug(demo)
    async with open_api_client(through_proxy) as client:
        assert (await client.get("/api/registries", headers=key)).status_code == 200
        with postgresql.stalled():
            answer = await client.get(f"/api/registries/{slug}", headers=key)
        assert problem(answer) == (503, "unavailable")
        assert (await client.get(f"/api/registries/{slug}", headers=key)).status_code == 200


async def test_guest_events_during_a_postgresql_outage_are_stored_afterwards(
    settings: Settings, client: httpx.AsyncClient, demo: Demo, key: dict[str, str]
) -> None:
    slug = public_slug(demo)
    demo.execute("DELETE FROM analytics_events; DELETE FROM registry_views")
    registry = (await client.get(f"/api/registries/{slug}", headers=key)).json()
    with postgresql_unavailable(settings):
        body = {"visitor_id": "v", "events": [{"type": "item_clicked", "item_id": registry["items"][0]["id"]}]}
        assert (await client.post(f"/api/registries/{slug}/events", json=body, headers=key)).status_code == 202
        await app_state_of(client).traffic_recorder.flush()
        await client.get(f"/api/registries/{slug}", headers=key)
    await app_state_of(client).traffic_recorder.flush()
    assert demo.execute("SELECT type, visitor_id FROM analytics_events").fetchall() == [("item_clicked", "v")]
    assert demo.execute("SELECT views FROM registry_views").fetchall() == [(2,)]


async def test_readiness_is_503_and_connections_close_while_draining(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str]
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    assert "connection" not in (await client.get(url, headers=key)).headers
    app_state_of(client).draining = True  # as SIGTERM does
    assert (await client.get("/health/readiness")).status_code == 503
    assert (await client.get("/health/liveness")).status_code == 200
    for _ in range(2):
        answer = await client.get(url, headers=key)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")


async def change_in_another_process(client: httpx.AsyncClient, demo: Demo, slug: str) -> None:
    """Act as a process that cannot invalidate: announce the change, wait for all permits to expire, and commit."""
    demo.execute(
        """INSERT INTO pending_invalidations (shop_id, slug, version)
           SELECT shop_id, slug, version + 1 FROM registries WHERE slug = %s""",
        [slug],
    )
    await wait_until(lambda: app_state_of(client).permit.has_pending)
    demo.execute("UPDATE registries SET title = 'After', version = version + 1 WHERE slug = %s", [slug])


async def read_title(client: httpx.AsyncClient, slug: str, key: dict[str, str]) -> str:
    return str((await client.get(f"/api/registries/{slug}", headers=key)).json()["title"])


async def cache_old_entry(client: httpx.AsyncClient, slug: str, key: dict[str, str]) -> None:
    """Read until the entry of before the change is in Redis, and is what readers get."""

    async def is_hit() -> bool:
        cached = await client.get(f"/api/registries/{slug}", headers=key)
        assert cached.json()["title"] != "After"
        return bool(cached.headers["x-cache"] == "hit")

    await wait_until(is_hit, "no hit")


async def until_stale(client: httpx.AsyncClient, slug: str, key: dict[str, str]) -> None:
    """Wait until Redis answers and the last permit has expired; until then there are hits, or 503."""

    async def is_stale() -> bool:
        answer = await client.get(f"/api/registries/{slug}", headers=key)
        state = answer.headers.get("x-cache")
        assert state in {"hit", "stale"} or problem(answer) == (503, "unavailable")
        return bool(state == "stale")

    await wait_until(is_stale, pause=0)


async def test_change_that_only_its_own_process_could_not_invalidate_is_read_by_all(
    settings: Settings, own_valkey: OwnValkey, key: dict[str, str], api: httpx.AsyncClient,
    signed: Callable[..., str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with open_api_client(settings.model_copy(update={"redis_url": own_valkey.url})) as cut_off:
        emma = Shopper(cut_off, signed, 7_100_000_000_001)
        slug = await emma.create(title="Before", visibility="public")
        assert await read_title(api, slug, key) == await read_title(api, slug, key) == "Before"

        async def unreachable(*_: object) -> None:
            raise CacheUnavailable("cut off")

        monkeypatch.setattr(app_state_of(cut_off).resources.cache, "invalidate", unreachable)
        await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
        assert await read_title(api, slug, key) == "After"


async def test_process_that_starts_replays_pending_invalidations(
    settings: Settings, demo: Demo, own_valkey: OwnValkey, key: dict[str, str], api: httpx.AsyncClient
) -> None:
    slug = public_slug(demo)
    await cache_old_entry(api, slug, key)
    await app_state_of(api).stop()
    demo.execute(
        """WITH changed AS (UPDATE registries SET title = 'After', version = version + 1 WHERE slug = %s RETURNING *)
           INSERT INTO pending_invalidations (shop_id, slug, version) SELECT shop_id, slug, version FROM changed""",
        [slug],
    )
    async with open_api_client(settings.model_copy(update={"redis_url": own_valkey.url})) as started:
        assert await read_title(started, slug, key) == "After"
        await recovered(started)
    assert demo.execute("SELECT slug FROM pending_invalidations").fetchall() == []


async def test_pending_invalidation_that_a_transaction_holds_is_never_read_over(
    settings: Settings, demo: Demo, own_valkey: OwnValkey, key: dict[str, str], api: httpx.AsyncClient
) -> None:
    slug = public_slug(demo)
    await cache_old_entry(api, slug, key)
    own_valkey.pause()
    await change_in_another_process(api, demo, slug)
    assert await read_title(api, slug, key) == "After"
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as holder:
        holder.execute("SELECT * FROM pending_invalidations FOR UPDATE")
        own_valkey.resume()
        for _ in range(20):
            assert await read_title(api, slug, key) == "After"
        holder.rollback()
    await recovered(api)
    assert await read_title(api, slug, key) == "After"


async def test_changed_registry_is_not_read_from_redis_while_postgresql_is_down(
    settings: Settings, demo: Demo, own_valkey: OwnValkey, key: dict[str, str], api: httpx.AsyncClient
) -> None:
    changed, other, *_ = [slug for (slug,) in demo.execute(
        "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active'")]  # fmt: skip
    for slug in (changed, other):
        await cache_old_entry(api, slug, key)
    own_valkey.pause()
    await change_in_another_process(api, demo, changed)
    with postgresql_unavailable(settings):
        own_valkey.resume()
        await until_stale(api, other, key)
        assert problem(await api.get(f"/api/registries/{changed}", headers=key)) == (503, "unavailable")
    await recovered(api)
    assert await read_title(api, changed, key) == "After"


async def test_hanging_postgresql_leaves_what_redis_holds_readable(
    through_proxy: Settings, demo: Demo, own_valkey: OwnValkey, key: dict[str, str], postgresql: FailingProxy
) -> None:
    slug = public_slug(demo)
    async with open_api_client(through_proxy.model_copy(update={"redis_url": own_valkey.url})) as api:
        app_state_of(api).resources.cache._hold_seconds = 0
        await cache_old_entry(api, slug, key)
        own_valkey.pause()
        assert (await api.get(f"/api/registries/{slug}", headers=key)).headers["x-cache"] == "bypass"
        with postgresql.stalled():
            own_valkey.resume()
            await until_stale(api, slug, key)
