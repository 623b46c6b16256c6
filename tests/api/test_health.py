"""What is not well is seen, in `/health` and in the metrics alike, and to look costs next to nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import Connection
from redis.asyncio import Redis
from sqlalchemy import text

from tests.api.conftest import serving_of
from tests.api.test_always_there import Stopped
from tests.api.test_service_pages import away
from tests.cache.conftest import OwnValkey
from tests.support.prefect_stand_in import PrefectStandIn
from wishcraft.settings import Settings
from wishcraft.store.connections import count_connections

Demo = Connection[tuple[Any, ...]]
Serving = Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]
VALUES = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}


@pytest.fixture
def all_well(settings: Settings, demo: Demo, prefect_settings: dict[str, object]) -> Settings:
    """Settings with which everything is healthy."""
    assert not demo.closed
    return settings.model_copy(update=prefect_settings)


@pytest.fixture
async def api(all_well: Settings, serving: Serving, own_valkey: OwnValkey) -> AsyncIterator[httpx.AsyncClient]:
    """An API whose Redis the test can stop."""
    async with serving(all_well.model_copy(update={"redis_url": own_valkey.url})) as client:
        yield client


async def look(client: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """The status and the detail of what is not healthy, once the metrics say the same: they may come a second later."""
    deadline = time.monotonic() + 20
    while True:
        checks = (await client.get("/health")).json()["checks"]
        told = await tell(client)
        if told == {part: VALUES[check["status"]] for part, check in checks.items()}:
            break
        assert time.monotonic() < deadline, (told, checks)
    return {part: (each["status"], each["detail"]) for part, each in checks.items() if each["status"] != "healthy"}


async def tell(client: httpx.AsyncClient) -> dict[str, float]:
    """What the metrics say of each part's health."""
    families = {each.name: each for each in text_string_to_metric_families((await client.get("/metrics")).text)}
    return {sample.labels["part"]: sample.value for sample in families["wishcraft_part_health"].samples}


async def until(client: httpx.AsyncClient, found: dict[str, tuple[str, str]]) -> None:
    """Look until this is found: an examination is good for a second."""
    deadline = time.monotonic() + 20
    while (seen := await look(client)) != found:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.05)


async def test_five_hundred_probes_make_one_examination(
    all_well: Settings, serving: Serving, prefect: PrefectStandIn
) -> None:
    async with serving(all_well) as client:
        serving_of(client).watch._health._seconds = 60  # however busy this machine is
        paths = ["/health", "/health/readiness"] * 250
        answers = await asyncio.gather(*(client.get(path) for path in paths))
        assert {each.status_code for each in answers} == {200}
        assert len({each.text for each in answers}) == 1
    assert prefect.asked == 3  # for the jobs, for what is overdue, for what is to come


async def test_a_redis_that_is_away_or_hangs_is_seen_and_so_is_its_return(
    api: httpx.AsyncClient, own_valkey: OwnValkey, prefect: PrefectStandIn
) -> None:
    assert prefect.coming
    assert await look(api) == {}
    own_valkey.pause()
    await until(api, {"redis": ("unhealthy", "does not answer, or refuses")})
    own_valkey.resume()
    await until(api, {})
    own_valkey.kill()
    await until(api, {"redis": ("unhealthy", "does not answer, or refuses")})
    await asyncio.to_thread(own_valkey.start)
    await until(api, {})


async def test_a_redis_that_answers_again_but_is_not_used_yet_is_seen(
    api: httpx.AsyncClient, prefect: PrefectStandIn
) -> None:
    assert prefect.coming
    breaker = serving_of(api).resources.redis.breaker
    assert breaker
    done = asyncio.Event()
    breaker.on_half_open = done.wait
    breaker.open()
    detail = "answers again, but is not used until it knows of what was changed meanwhile"
    await until(api, {"redis": ("degraded", detail)})
    assert 'wishcraft_breaker_open{store="redis"} 1.0' in (await api.get("/metrics")).text
    done.set()
    await until(api, {})
    assert 'wishcraft_breaker_open{store="redis"} 0.0' in (await api.get("/metrics")).text


async def test_a_redis_that_is_nearly_full_is_seen(
    api: httpx.AsyncClient, own_valkey: OwnValkey, prefect: PrefectStandIn
) -> None:
    assert prefect.coming
    async with Redis.from_url(own_valkey.url) as redis:
        await redis.config_set("maxmemory-policy", "volatile-lfu")
        await redis.config_set("maxmemory", int(1.05 * (await redis.info("memory"))["used_memory"]))
    [(part, (status, detail))] = (await look(api)).items()
    assert (part, status) == ("redis", "degraded")
    assert detail.endswith("close to maxmemory")


async def test_a_postgresql_that_is_away_is_seen(all_well: Settings, serving: Serving, prefect: PrefectStandIn) -> None:
    assert prefect.coming
    async with serving(away(all_well, "database_url")) as client:
        assert await look(client) == {"database": ("unhealthy", "does not answer, or refuses")}


async def test_a_postgresql_that_hangs_is_seen_and_hides_nothing_else(
    all_well: Settings, serving: Serving, prefect: PrefectStandIn, demo: Demo
) -> None:
    assert prefect.coming
    async with serving(all_well) as client:
        assert await look(client) == {}
        with Stopped(demo):
            await until(client, {"database": ("unhealthy", "no answer within 1 s")})
            # Nobody waits for the question that hangs, and it is not asked again and again. Beside it there is one for
            # the shops' names, and once a minute the minute's figures.
            assert 1 <= count_connections(serving_of(client).resources.db).in_use <= 3
        await until(client, {})


async def test_a_pool_without_a_free_connection_is_seen_and_told_from_a_postgresql_that_is_away(
    all_well: Settings, serving: Serving, prefect: PrefectStandIn
) -> None:
    assert prefect.coming
    async with serving(all_well) as client, AsyncExitStack() as taken:
        db = serving_of(client).resources.db
        for _ in range(10):
            session = await taken.enter_async_context(db.autocommit())
            await session.execute(text("SELECT 1"))
        [(part, (status, detail))] = (await look(client)).items()
        assert (part, status) == ("database", "degraded")
        assert detail.endswith("all 10 connections are in use")
        shown = (await client.get("/metrics")).text
        assert 'wishcraft_db_connections{state="in_use"} 10.0' in shown
        assert "wishcraft_db_connections_limit 10.0" in shown


async def test_a_job_that_should_have_run_is_named(
    all_well: Settings, serving: Serving, prefect: PrefectStandIn
) -> None:
    prefect.overdue = 2
    async with serving(all_well) as client:
        detail = "should have begun over 5 minutes ago: send-reminders (2)"
        assert await look(client) == {"scheduler": ("degraded", detail)}
        shown = (await client.get("/metrics")).text
    assert 'wishcraft_overdue_runs{job="send-reminders"} 2.0' in shown
    assert 'wishcraft_overdue_runs{job="cache-warm"} 0.0' in shown


async def test_a_scheduler_that_schedules_nothing_is_seen(
    all_well: Settings, serving: Serving, prefect: PrefectStandIn
) -> None:
    prefect.coming = 0
    async with serving(all_well) as client:
        assert await look(client) == {"scheduler": ("degraded", "no run is scheduled")}


async def test_a_prefect_that_is_away_or_does_not_let_us_in_is_seen(all_well: Settings, serving: Serving) -> None:
    async with serving(all_well.model_copy(update={"prefect_api_url": "http://127.0.0.1:1"})) as client:
        nobody = ("unhealthy", "does not answer, or refuses")
        assert await look(client) == {"prefect": nobody, "scheduler": nobody}
    async with serving(all_well.model_copy(update={"prefect_api_auth_string": None})) as client:
        assert await look(client) == {"scheduler": nobody}
