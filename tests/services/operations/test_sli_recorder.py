import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.aliases import Demo
from tests.support.waiting import wait_until
from wishcraft.cache.client import connect
from wishcraft.cache.registries import RegistryCache
from wishcraft.errors import DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS, LATENCY_BOUNDS, REQUEST_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import HealthMonitor
from wishcraft.services.operations import sli_recorder
from wishcraft.services.operations.sli_recorder import SliRecorder
from wishcraft.settings import Settings
from wishcraft.store import service_minutes
from wishcraft.store.engine import Database

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


@pytest.fixture(autouse=True)
def no_minutes(demo: Demo) -> None:
    demo.execute("TRUNCATE service_minutes")


@pytest.fixture
async def monitor(resources: Resources, settings: Settings) -> AsyncIterator[HealthMonitor]:
    monitor = HealthMonitor(resources, settings)
    yield monitor
    await monitor.close()


@pytest.fixture
async def without_database(resources: Resources) -> AsyncIterator[Resources]:
    """The same resources, but PostgreSQL does not answer."""
    nowhere = Database(NOWHERE)
    yield replace(resources, db=nowhere)
    await nowhere.close()


def serve(seconds: float = 0.003, route: str = "/api/registries/{ref}", status: int = 200, times: int = 1) -> None:
    for _ in range(times):
        REQUEST_SECONDS.labels("GET", route, str(status), "route").observe(seconds)


async def write(recorder: SliRecorder, minute: datetime) -> None:
    await recorder.collect(minute)
    await recorder.save()


def written(demo: Demo, columns: str = "requests") -> list[tuple[Any, ...]]:
    return demo.execute(f"SELECT {columns} FROM service_minutes ORDER BY minute".encode()).fetchall()  # noqa: S608  ours


async def test_a_minute_has_requests_errors_and_latencies(
    resources: Resources, monitor: HealthMonitor, demo: Demo
) -> None:
    serve()
    recorder = SliRecorder(resources, monitor)  # counts only from here
    serve(0.003, times=5)
    serve(0.1, status=404)
    serve(0.2, "/api/admin/keys", status=503)
    serve(99, status=0)  # the client got no response
    await write(recorder, NOON)
    assert written(demo, "minute, served, requests, errors") == [(NOON, True, 8, 2)]
    [(latencies,)] = written(demo, "latencies")
    assert {bound: count for bound, count in zip([*LATENCY_BOUNDS, None], latencies, strict=True) if count} == {
        0.005: 5,
        0.1: 1,
        0.25: 1,
        None: 1,
    }


async def test_probes_metrics_docs_and_unknown_paths_are_not_counted(
    resources: Resources, monitor: HealthMonitor, demo: Demo
) -> None:
    recorder = SliRecorder(resources, monitor)
    for route in ("/health", "/health/readiness", "/metrics", "/api/docs", "/api/docs/ui", "unmatched", "/admin/jobs"):
        serve(5, route, 500)
    await write(recorder, NOON)
    assert written(demo, "served, requests, errors") == [(True, 0, 0)]


async def test_reads_are_counted_by_cache_state(resources: Resources, monitor: HealthMonitor, demo: Demo) -> None:
    recorder = SliRecorder(resources, monitor)
    for times, state in enumerate(("hit", "stale", "miss", "bypass"), start=1):
        CACHE_READS.labels(state).inc(times)
    await write(recorder, NOON)
    assert written(demo, "hits, stale, misses, bypassed") == [(1, 2, 3, 4)]


async def test_nothing_is_counted_twice(resources: Resources, monitor: HealthMonitor, demo: Demo) -> None:
    recorder = SliRecorder(resources, monitor)
    serve(times=3)
    for after in range(3):
        await write(recorder, NOON + after * MINUTE)
    assert written(demo) == [(3,), (0,), (0,)]


async def test_two_processes_add_up_to_one_minute(resources: Resources, monitor: HealthMonitor, demo: Demo) -> None:
    for requests in (3, 4):
        recorder = SliRecorder(resources, monitor)
        serve(times=requests)
        CACHE_READS.labels("hit").inc(requests)
        await write(recorder, NOON)
    assert written(demo, "requests, hits, latencies[3]") == [(7, 7, 7)]


async def test_an_unavailable_process_does_not_hide_an_available_one(
    resources: Resources, without_database: Resources, settings: Settings, monitor: HealthMonitor, demo: Demo
) -> None:
    redis = connect("redis://127.0.0.1:1", timeout=0.2)
    without_stores = HealthMonitor(replace(without_database, redis=redis, cache=RegistryCache(redis)), settings)
    unavailable = SliRecorder(resources, without_stores)
    await write(unavailable, NOON)
    await write(unavailable, NOON + MINUTE)
    await write(SliRecorder(resources, monitor), NOON)
    await without_stores.close()
    await redis.close()
    assert written(demo, "served") == [(True,), (False,)]


async def test_minutes_are_kept_while_postgresql_is_down_and_count_as_available(
    resources: Resources,
    without_database: Resources,
    settings: Settings,
    demo: Demo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor = HealthMonitor(without_database, settings)
    recorder = SliRecorder(without_database, monitor, max_pending_minutes=3)
    with caplog.at_level(logging.WARNING):
        for after in range(4):
            serve()
            await write(recorder, NOON + after * MINUTE)
    ours = [record.getMessage() for record in caplog.records if record.name == sli_recorder.__name__]
    assert "3 minutes of indicators are pending: operational error: " in ours[-1]
    assert "Connection refused" in ours[-1]
    assert written(demo) == []
    recorder._resources = resources
    serve()
    await write(recorder, NOON + 4 * MINUTE)
    await monitor.close()
    assert written(demo, "minute, served, requests") == [(NOON + after * MINUTE, True, 1) for after in (2, 3, 4)]


async def test_a_stop_writes_the_part_of_the_last_minute(
    resources: Resources, monitor: HealthMonitor, demo: Demo
) -> None:
    recorder = SliRecorder(resources, monitor)
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    serve(times=2)
    recorder.stop()
    await running
    assert sum(requests for (requests,) in written(demo)) == 2


async def test_each_minute_is_kept_also_while_postgresql_hangs(
    resources: Resources, monitor: HealthMonitor, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute without a row counts as one in which nothing was served."""
    recorder, add = SliRecorder(resources, monitor, interval=timedelta(0)), service_minutes.add
    gone, tries = asyncio.Event(), list[int]()

    async def hang(session: Any, minutes: Any) -> None:
        tries.append(len(minutes))
        await gone.wait()
        if len(tries) == 1:
            raise DatabaseUnavailable("no answer")
        await add(session, minutes)

    monkeypatch.setattr("wishcraft.store.service_minutes.add", hang)
    running = asyncio.create_task(recorder.run())
    await wait_until(lambda: tries == [1])
    serve(times=2)
    await wait_until(lambda: sum(minute.served.requests for minute in recorder._pending) == 2)
    assert tries == [1]
    gone.set()
    recorder.stop()
    await running
    assert tries[-1] > 1
    assert sum(requests for (requests,) in written(demo)) == 2
