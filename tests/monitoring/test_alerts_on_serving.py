"""Alerts on the API and on the stores: each fires on its fault, and none on normal traffic."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from tests.support.aliases import Demo
from tests.support.fake_prefect import FakePrefect
from tests.support.outages import postgresql_unavailable
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from tests.support.watched_api import Watched
from wishcraft.services.health import monitor
from wishcraft.settings import Settings

WAITS = """SELECT coalesce(max(now() - query_start) > '0.2 s', false)
           FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"""


async def test_a_healthy_service_fires_no_alert(watched: Watched, slugs: list[str]) -> None:
    await watched.read(slugs, 2 * len(slugs))
    await watched.scrape()
    assert await watched.read(slugs, 200) == {200}
    assert await watched.list_registries(3) == {200}
    for after in (15, 240, 600):
        assert await watched.scrape(after) == {}


async def test_all_processes_down_pages_and_one_of_two_makes_a_ticket(watched: Watched) -> None:
    page = (await watched.client.get("/metrics")).text
    assert set(watched.scraped({"one": page, "two": None})) == {"ApiProcessDown"}
    assert set(watched.scraped({"one": None, "two": None})) == {"ApiDown", "ApiProcessDown"}


async def test_an_empty_target_list_pages(watched: Watched) -> None:
    assert set(watched.scraped({}, after=3600)) == {"ApiDown"}


@pytest.mark.parametrize("how", ["hanging", "killed"])
async def test_redis_down_alerts(watched: Watched, own_valkey: OwnValkey, slugs: list[str], how: str) -> None:
    own_valkey.pause() if how == "hanging" else own_valkey.kill()
    await watched.read(slugs, 1)
    assert set(await watched.scrape()) == {"RedisAway"}
    assert await watched.read(slugs, 100) == {200}
    assert set(await watched.scrape(240)) - {"ServingSlow"} == {"RedisAway", "HitRatioLow"}  # slow on a busy machine


async def test_a_replica_that_lags_makes_a_ticket(watched: Watched) -> None:
    page = (await watched.client.get("/metrics")).text
    database = 'wishcraft_part_health{part="database"} 1.0\n'
    assert database in page
    lagging = page.replace(database, database + 'wishcraft_part_health{part="replica"} 0.5\n')
    assert watched.scraped({"one": page, "two": page}) == {}
    assert set(watched.scraped({"one": page, "two": lagging})) == {"ReplicaLagging"}


async def test_alerts_of_a_part_name_the_process_that_lacks_it(watched: Watched) -> None:
    page = (await watched.client.get("/metrics")).text
    database, settings = (f'wishcraft_part_health{{part="{part}"}} ' for part in ("database", "environment"))
    redis = "wishcraft_redis_up "
    lacking = {part: page.replace(f"{part}1.0\n", f"{part}0.0\n") for part in (database, redis, settings)}
    pages = {"one": page, **lacking}
    assert len(set(pages.values())) == len(pages)
    fired = watched.scraped({**pages})
    assert {alert: [each["instance"] for each in all_] for alert, all_ in fired.items()} == {
        "PostgresAway": [database],
        "RedisAway": [redis],
        "SettingsWrong": [settings],
    }


async def test_an_open_circuit_breaker_alerts_although_redis_answers(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = watched.app_state.resources.redis.breaker
    assert breaker
    answered = asyncio.Event()
    monkeypatch.setattr(breaker, "_probe", answered.wait)
    breaker.open("a test")
    assert set(await watched.scrape()) == {"RedisAway"}
    answered.set()


async def test_postgresql_down_alerts_and_then_both_stores_down(
    watched: Watched, healthy_settings: Settings, own_valkey: OwnValkey, prefect: FakePrefect
) -> None:
    prefect.upcoming = 0  # as reported by a Prefect whose database is on the same server
    with postgresql_unavailable(healthy_settings):
        assert set(await watched.scrape()) == {"PostgresAway"}
        own_valkey.kill()
        await watched.list_registries(1)
        assert set(await watched.scrape()) >= {"BothStoresAway", "PostgresAway", "RedisAway"}
    await asyncio.to_thread(own_valkey.start)


async def test_many_failed_requests_page_and_a_few_do_not(watched: Watched, healthy_settings: Settings) -> None:
    with postgresql_unavailable(healthy_settings):
        for _ in range(2):  # `rate` needs two samples of a new status
            assert await watched.list_registries(2) == {503}
            fired = await watched.scrape()
        assert set(fired) == {"PostgresAway"}
        assert await watched.list_registries(40) == {503}
        assert {"ErrorsNow", "ErrorsLately"} <= set(await watched.scrape())
    assert set(await watched.scrape(3600)) == {"ErrorsLately"}


async def test_slow_responses_page_above_a_minimum_of_requests(
    watched: Watched, demo: Demo, healthy_settings: Settings
) -> None:
    for times, expected in ((1, set[str]()), (5, {"ServingSlow"})):
        for _ in range(times):
            await list_behind_a_lock(watched, demo, healthy_settings, 70)
        assert set(await watched.scrape(290)) == expected


async def list_behind_a_lock(watched: Watched, demo: Demo, healthy_settings: Settings, times: int) -> None:
    """Send requests that wait for a lock, each longer than 100 ms."""
    with psycopg.connect(healthy_settings.database_url.replace("+psycopg", "")) as locking:
        locking.execute("LOCK TABLE registries IN ACCESS EXCLUSIVE MODE")
        responses = asyncio.create_task(watched.list_registries(times))
        await wait_until(lambda: demo.execute(WAITS).fetchone() == (True,))
        locking.rollback()
        assert await responses == {200}


async def test_a_shop_over_its_quota_alerts_of_refused_fills_and_misses(
    watched: Watched, demo: Demo, slugs: list[str]
) -> None:
    await watched.read(slugs[:1], 2)  # from now on both outcomes have a series
    demo.execute("""UPDATE shops SET settings = settings || '{"cache_quota_entries": 0}' WHERE id = 1""")
    await watched.read(slugs[1:2], 1)
    await watched.scrape()
    await watched.read(slugs[1:2], 80)
    assert set(await watched.scrape(600)) == {"FillsRefused", "HitRatioLow"}


async def test_a_nearly_full_redis_and_an_evicting_one_alert(watched: Watched, own_valkey: OwnValkey) -> None:
    async with Redis.from_url(own_valkey.url) as redis:
        for number in range(50):
            await redis.set(f"other:{number}", b"x" * 20_000, ex=60)
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", int(1.05 * used))
        assert set(await watched.scrape()) == {"RedisMemoryHigh"}
        await redis.config_set("maxmemory", int(0.9 * used))
        assert set(await watched.scrape()) == {"RedisMemoryHigh", "RedisEvicting"}
        await redis.config_set("maxmemory", 0)
    assert await watched.scrape(1200) == {}


async def test_an_exhausted_connection_pool_alerts_by_process(watched: Watched) -> None:
    async with AsyncExitStack() as taken:
        for _ in range(10):
            session = await taken.enter_async_context(watched.app_state.resources.db.autocommit())
            await session.execute(text("SELECT 1"))
        fired = await watched.scrape()
    assert {each["instance"] for each in fired["DatabasePoolExhausted"]} == {"one", "two"}
    assert set(fired) == {"DatabasePoolExhausted"}


async def test_high_memory_use_alerts(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{20 * 2**20}\n")
    monkeypatch.setattr(monitor, "_CGROUP_LIMIT", limit)
    assert set(await watched.scrape()) == {"MemoryHigh"}
