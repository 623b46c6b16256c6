"""`/health` and the metrics show the same failures, and probes cost the stores next to nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from sqlalchemy import make_url, text

from tests.support.aliases import Demo, OpenClient
from tests.support.api import app_state_of
from tests.support.failing_proxy import FailingProxy
from tests.support.fake_prefect import FakePrefect
from tests.support.outages import unreachable
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.cache.webhook_queue import QueueEntry, WebhookQueue
from wishcraft.domain.webhooks import TopicPriority
from wishcraft.services.health.unreachable import DATABASE, LOGIN
from wishcraft.settings import Settings
from wishcraft.store.connections import count_connections

VALUES = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}


@pytest.fixture
def all_well(settings: Settings, demo: Demo, prefect_settings: dict[str, object]) -> Settings:
    """Settings with which everything is healthy."""
    return settings.model_copy(update=prefect_settings)


@pytest.fixture
async def api(all_well: Settings, open_client: OpenClient, own_valkey: OwnValkey) -> AsyncIterator[httpx.AsyncClient]:
    """An API whose Redis the test can stop."""
    async with open_client(all_well.model_copy(update={"redis_url": own_valkey.url})) as client:
        yield client


async def unhealthy_parts(client: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """Status and detail of unhealthy parts, once the metrics agree: they may be a second older."""
    checks: dict[str, dict[str, str]] = {}

    async def agree() -> bool:
        checks.update((await client.get("/health")).json()["checks"])
        return await health_in_metrics(client) == {part: VALUES[check["status"]] for part, check in checks.items()}

    await wait_until(agree, "the metrics show another health", pause=0)
    return {part: (each["status"], each["detail"]) for part, each in checks.items() if each["status"] != "healthy"}


async def health_in_metrics(client: httpx.AsyncClient) -> dict[str, float]:
    """The health of each part in the metrics."""
    families = {each.name: each for each in text_string_to_metric_families((await client.get("/metrics")).text)}
    return {sample.labels["part"]: sample.value for sample in families["wishcraft_part_health"].samples}


async def until(client: httpx.AsyncClient, found: dict[str, tuple[str, str]]) -> None:
    """Poll until this is the result: a health check is cached for a second."""

    last: dict[str, tuple[str, str]] | None = None

    async def is_found() -> bool:
        nonlocal last
        last = await unhealthy_parts(client)
        return last == found

    await wait_until(is_found, lambda: f"/health never showed {found}, but at last {last}")


async def test_login_that_may_not_execute_what_changes_need_is_not_ready(
    all_well: Settings, open_client: OpenClient, administrator_url: str
) -> None:
    login = make_url(all_well.database_url).username
    async with open_client(all_well) as client:

        async def is_ready(*, ready: bool) -> bool:
            answer = await client.get("/health/readiness")
            detail = answer.json()["checks"]["environment"]["detail"]
            return (answer.status_code, "nextval" in detail) == ((200, False) if ready else (503, True))

        with psycopg.connect(administrator_url, autocommit=True) as administrator:
            await wait_until(lambda: is_ready(ready=True))
            administrator.execute(f"REVOKE EXECUTE ON FUNCTION nextval(regclass) FROM {login}")
            try:
                await wait_until(lambda: is_ready(ready=False))
            finally:
                administrator.execute(f"GRANT EXECUTE ON FUNCTION nextval(regclass) TO {login}")
            await wait_until(lambda: is_ready(ready=True))


async def test_plain_http_to_shopify_is_not_ready_in_production(all_well: Settings, open_client: OpenClient) -> None:
    plain = {"environment": "production", "shopify_origin": "http://127.0.0.1:9/{shop}"}
    async with open_client(all_well.model_copy(update=plain)) as client:
        answer = await client.get("/health/readiness")
    assert answer.status_code == 503
    assert answer.json()["checks"]["environment"]["detail"] == "SHOPIFY_ORIGIN is not https in production"


async def test_five_hundred_probes_cost_one_health_check(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect
) -> None:
    async with open_client(all_well) as client:
        monitor = app_state_of(client).health_monitor
        monitor._health._ttl = monitor._schedule._ttl = 60  # however busy this machine is
        paths = ["/health", "/health/readiness"] * 250
        answers = await asyncio.gather(*(client.get(path) for path in paths))
        assert {each.status_code for each in answers} == {200}
        assert len({each.text for each in answers}) == 1
    assert prefect.queries == 4  # for the jobs, for what is overdue, failed, and to come


async def test_health_shows_redis_down_or_hanging_and_its_recovery(
    api: httpx.AsyncClient, own_valkey: OwnValkey, prefect: FakePrefect
) -> None:
    await until(api, {})
    own_valkey.pause()
    await until(api, {"redis": ("unhealthy", "does not answer, or refuses the connection")})
    own_valkey.resume()
    await until(api, {})
    own_valkey.kill()
    await until(api, {"redis": ("unhealthy", "does not answer, or refuses the connection")})
    await asyncio.to_thread(own_valkey.start)
    await until(api, {})


async def test_health_shows_an_open_circuit_breaker_while_redis_answers(
    api: httpx.AsyncClient, prefect: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = app_state_of(api).resources.redis.breaker
    assert breaker
    done = asyncio.Event()
    monkeypatch.setattr(breaker, "_probe", done.wait)
    breaker.open("a test")
    detail = "did not answer a moment ago, and is not used until it answers a probe"
    await until(api, {"redis": ("degraded", detail)})
    assert 'wishcraft_breaker_open{store="redis"} 1.0' in (await api.get("/metrics")).text
    done.set()
    await until(api, {})
    assert 'wishcraft_breaker_open{store="redis"} 0.0' in (await api.get("/metrics")).text


async def test_health_shows_redis_close_to_maxmemory(
    api: httpx.AsyncClient, own_valkey: OwnValkey, prefect: FakePrefect
) -> None:
    async with Redis.from_url(own_valkey.url) as redis:
        await redis.config_set("maxmemory-policy", "volatile-lfu")
        await redis.config_set("maxmemory", int(1.05 * (await redis.info("memory"))["used_memory"]))
    [(part, (status, detail))] = (await unhealthy_parts(api)).items()
    assert (part, status) == ("redis", "degraded")
    assert detail.endswith("close to maxmemory")


async def test_health_shows_postgresql_down(all_well: Settings, open_client: OpenClient, prefect: FakePrefect) -> None:
    async with open_client(unreachable(all_well, "database_url")) as client:
        assert await unhealthy_parts(client) == {
            "database": ("unhealthy", "does not answer, or refuses the connection")
        }


@pytest.mark.parametrize(
    ("of_database", "of_redis", "why"),
    [
        ({"password": "wrong"}, {"password": "wrong"}, LOGIN),
        ({"database": "none"}, {"database": "99"}, DATABASE),
    ],
)
async def test_health_says_why_the_stores_refuse_a_connection(
    all_well: Settings, open_client: OpenClient, own_valkey: OwnValkey, prefect: FakePrefect,
    of_database: dict[str, Any], of_redis: dict[str, Any], why: str,
) -> None:  # fmt: skip
    database = make_url(all_well.database_url).set(**of_database).render_as_string(hide_password=False)
    redis = make_url(own_valkey.url).set(**of_redis).render_as_string(hide_password=False)
    async with open_client(all_well.model_copy(update={"database_url": database, "redis_url": redis})) as client:
        await until(client, {"database": ("unhealthy", why), "redis": ("unhealthy", why)})


async def test_hanging_postgresql_does_not_hide_the_other_parts(
    through_proxy: Settings,
    prefect_settings: dict[str, object],
    open_client: OpenClient,
    prefect: FakePrefect,
    postgresql: FailingProxy,
) -> None:
    async with open_client(through_proxy.model_copy(update=prefect_settings)) as client:
        await until(client, {})
        with postgresql.stalled():
            await until(client, {"database": ("unhealthy", "no answer within 1 s")})
            # The hanging probe is left behind and not repeated. Two more connections: the shops' domains, and once a
            # minute the service level indicators. The inbox of webhooks, for /health and for the metrics, two.
            assert 1 <= count_connections(app_state_of(client).resources.db).in_use <= 5
        await until(client, {})


async def test_exhausted_pool_is_distinguished_from_postgresql_down(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect
) -> None:
    async with open_client(all_well) as client, AsyncExitStack() as taken:
        db = app_state_of(client).resources.db
        for _ in range(10):
            session = await taken.enter_async_context(db.autocommit())
            await session.execute(text("SELECT 1"))
        [(part, (status, detail))] = (await unhealthy_parts(client)).items()
        assert (part, status) == ("database", "degraded")
        assert detail.endswith("all 10 connections are in use")
        shown = (await client.get("/metrics")).text
        assert 'wishcraft_db_connections{state="in_use"} 10.0' in shown
        assert "wishcraft_db_connections_limit 10.0" in shown


async def test_job_that_failed_a_moment_ago_is_named(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect, "runs", [("cache-warm", "FAILED"), ("cache-warm", "CRASHED"), ("ask", "COMPLETED")])
    async with open_client(all_well) as client:
        scheduler = (await client.get("/health")).json()["checks"]["scheduler"]
    assert scheduler["status"] == "healthy"
    assert scheduler["detail"] == "runs are scheduled, none is overdue; failed within an hour: cache-warm (2)"


async def test_overdue_job_is_named(all_well: Settings, open_client: OpenClient, prefect: FakePrefect) -> None:
    prefect.overdue = 2
    async with open_client(all_well) as client:
        detail = "runs over 5 minutes overdue: send-reminders (2)"
        assert await unhealthy_parts(client) == {"scheduler": ("degraded", detail)}
        shown = (await client.get("/metrics")).text
    assert 'wishcraft_overdue_runs{job="send-reminders"} 2.0' in shown
    assert 'wishcraft_overdue_runs{job="cache-warm"} 0.0' in shown


async def test_job_whose_schedule_is_paused_is_named(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect
) -> None:
    prefect.paused = ["send-reminders"]
    async with open_client(all_well) as client:
        scheduler = (await client.get("/health")).json()["checks"]["scheduler"]
    assert scheduler["status"] == "healthy"
    assert scheduler["detail"] == "runs are scheduled, none is overdue; paused: send-reminders"


async def test_health_shows_that_no_run_is_scheduled(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect
) -> None:
    prefect.upcoming = 0
    async with open_client(all_well) as client:
        assert await unhealthy_parts(client) == {"scheduler": ("degraded", "no run is scheduled")}


async def test_health_shows_prefect_down_or_refusing_the_credentials(
    all_well: Settings, open_client: OpenClient
) -> None:
    async with open_client(all_well.model_copy(update={"prefect_api_url": "http://127.0.0.1:1"})) as client:
        unreachable = ("unhealthy", "does not answer, or refuses the connection")
        assert await unhealthy_parts(client) == {"prefect": unreachable, "scheduler": unreachable}
    async with open_client(all_well.model_copy(update={"prefect_api_auth_string": None})) as client:
        assert await unhealthy_parts(client) == {"scheduler": ("unhealthy", LOGIN)}


async def test_prefect_that_takes_seconds_to_answer_is_well_and_one_that_hangs_is_not(
    all_well: Settings, open_client: OpenClient, prefect: FakePrefect
) -> None:
    async with open_client(all_well) as client:
        prefect.hangs = True
        first = (await client.get("/health")).json()
        assert first["status"] == "healthy"
        assert first["checks"]["scheduler"]["detail"] == "not known: Prefect has not answered yet"
        hanging = ("unhealthy", "no answer within 5 s")
        await until(client, {"prefect": hanging, "scheduler": hanging})
        prefect.hangs = False
        await until(client, {})
        prefect.hangs = True
        assert await unhealthy_parts(client) == {}  # what it last said counts


async def test_health_is_indented_for_people(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/readiness"):
        text = (await client.get(path)).text
        assert text.startswith('{\n  "status": ')
        assert text.endswith("\n}\n")


async def test_late_webhooks_and_dead_letters_are_shown_with_what_is_missing(
    api: httpx.AsyncClient, prefect: FakePrefect, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_state = app_state_of(api)
    monkeypatch.setattr(app_state.health_monitor._inbox, "_ttl", 0)

    async def shown(part: str) -> bool:
        found = (await unhealthy_parts(api)).get("webhooks", ("healthy", ""))
        return found[0] == "degraded" and part in found[1]

    receive = """INSERT INTO webhook_events (shop_domain, webhook_id, topic, due_at)
                 VALUES ('a.myshopify.com', 'late', 'orders/create', now() - interval '5 minutes') RETURNING id"""
    [(row_id,)] = demo.execute(receive).fetchall()
    try:
        await wait_until(lambda: shown("no consumer runs, start python -m deployments.webhooks"))
        queue = WebhookQueue(app_state.resources.redis)
        await queue.enqueue([QueueEntry(row_id, "a.myshopify.com", TopicPriority.HIGH)])

        async def consumer_is_shown() -> bool:
            await queue.take("alive", 1, timedelta(0))
            return await shown("consumers run (1), and do not keep up")

        await wait_until(consumer_is_shown)
        demo.execute("UPDATE webhook_events SET handled_at = now(), outcome = 'dead' WHERE id = %s", [row_id])
        await wait_until(lambda: shown("dead letters wait for a decision (1)"))
    finally:
        demo.execute("DELETE FROM webhook_events WHERE id = %s", [row_id])
    await until(api, {})
