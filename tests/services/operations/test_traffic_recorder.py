import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from tests.support.aliases import Demo
from tests.support.waiting import wait_until
from wishcraft.cache import keys
from wishcraft.cache.registries import CacheState
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.callers import Scope
from wishcraft.domain.rate_limits import Policy
from wishcraft.errors import DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS
from wishcraft.resources import Resources
from wishcraft.services.operations import traffic_recorder
from wishcraft.services.operations.traffic_recorder import MAX_PENDING_EVENTS, TrafficRecorder
from wishcraft.services.shops.api_keys import create_key
from wishcraft.store.analytics_events import Event
from wishcraft.store.audit_log import Actor
from wishcraft.store.engine import Database
from wishcraft.store.shops import ShopRef


@pytest.fixture
def slugs(demo: Demo, shop: ShopRef) -> list[str]:
    demo.execute("TRUNCATE registry_views, analytics_events")
    rows = demo.execute("SELECT slug FROM registries WHERE shop_id = %s ORDER BY id", [shop.id])
    return [slug for (slug,) in rows]


def views(demo: Demo) -> dict[str, int]:
    query = "SELECT slug, sum(views)::int FROM registry_views v JOIN registries r ON r.id = v.registry_id GROUP BY slug"
    return dict(demo.execute(query).fetchall())


def published_hits() -> float:
    """The hits in this process's Prometheus metrics."""
    samples = [sample for family in CACHE_READS.collect() for sample in family.samples]
    return sum(each.value for each in samples if each.labels == {"state": "hit"})


def event(shop_id: int, ref: str, item_id: int | None = None) -> Event:
    return Event(shop_id, ref, AnalyticsType.ITEM_CLICKED, datetime.now(UTC), "v", item_id)


async def test_many_reads_are_saved_in_few_rows(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]
) -> None:
    recorder = TrafficRecorder(resources)
    for number in range(100):
        recorder.count_read(shop.id, slugs[number % 2], CacheState.HIT, 10)
    await recorder.flush()
    recorder.count_read(shop.id, slugs[0], CacheState.MISS, 10)
    recorder.count_read(shop.id, "there-is-none", CacheState.MISS, 10)
    await recorder.flush()
    assert views(demo) == {slugs[0]: 51, slugs[1]: 50}
    used = (await resources.usage.read([shop.id]))[shop.id]
    assert (used.hits, used.misses, used.bytes_sent) == (100, 2, 1020)


async def test_two_processes_add_up(resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]) -> None:
    for recorder in (TrafficRecorder(resources), TrafficRecorder(resources)):
        for slug in slugs:
            recorder.count_read(shop.id, slug, CacheState.HIT, 1)
        await recorder.flush()
    assert views(demo) == dict.fromkeys(slugs, 2)


async def test_views_are_counted_by_shop(resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]) -> None:
    recorder = TrafficRecorder(resources)
    recorder.count_read(shop.id + 1, slugs[0], CacheState.HIT, 1)
    await recorder.flush()
    assert views(demo) == {}


async def test_counts_that_redis_does_not_take_are_kept(
    resources: Resources, shop: ShopRef, slugs: list[str], redis: Redis
) -> None:
    recorder, before = TrafficRecorder(resources), published_hits()
    await redis.set(keys.of_shop(shop.id).usage, "in the way", ex=60)
    recorder.count_read(shop.id, slugs[0], CacheState.HIT, 5)
    await recorder.flush()
    await redis.delete(keys.of_shop(shop.id).usage)
    recorder.count_read(shop.id, slugs[0], CacheState.HIT, 5)
    await recorder.flush()
    used = (await resources.usage.read([shop.id]))[shop.id]
    assert (used.hits, used.bytes_sent) == (2, 10)
    assert published_hits() - before == 2  # kept counts are not published twice


async def test_counts_that_postgresql_does_not_take_are_kept_and_logged_with_the_cause(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    recorder = TrafficRecorder(replace(resources, db=nowhere))
    recorder.count_read(shop.id, slugs[0], CacheState.HIT, 5)
    recorder.add_events([event(shop.id, slugs[0])])
    with caplog.at_level(logging.WARNING):
        await recorder.flush()
    await nowhere.close()
    ours = [record.getMessage() for record in caplog.records if record.name == traffic_recorder.__name__]
    assert [message.partition("; they are kept: ")[0] for message in ours] == [
        "Cannot save views: PostgreSQL does not answer",
        "Cannot save 1 events: PostgreSQL does not answer",
    ]
    assert all("Connection refused" in message for message in ours)
    recorder._resources = resources
    await recorder.flush()
    assert views(demo) == {slugs[0]: 1}


async def test_view_that_postgresql_does_not_take_is_weighed_once(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str], redis: Redis
) -> None:
    index = keys.of_shop(shop.id).index
    await redis.zadd(index, dict.fromkeys(slugs[:2], 0.0))
    await redis.expire(index, 60)
    away = replace(resources, db=Database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    recorders = [TrafficRecorder(resources), TrafficRecorder(away)]
    for recorder, slug in zip(recorders, slugs, strict=False):
        recorder.count_read(shop.id, slug, CacheState.HIT, 1)
        for _ in range(3):
            await recorder.flush()
    scores = [await redis.zscore(index, slug) for slug in slugs[:2]]
    assert scores[0]
    assert scores[1] == pytest.approx(scores[0], rel=0.01)
    recorders[1]._resources = resources
    await recorders[1].flush()
    assert views(demo) == dict.fromkeys(slugs[:2], 1)


async def test_views_of_too_many_registries_are_not_kept_until_postgresql_answers(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]
) -> None:
    away = replace(resources, db=Database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    recorder = TrafficRecorder(away, max_viewed_registries=3)
    for slug in slugs[:4]:
        recorder.count_read(shop.id, slug, CacheState.HIT, 1)
        await recorder.flush()
    recorder._resources = resources
    recorder.count_read(shop.id, slugs[3], CacheState.HIT, 1)
    await recorder.flush()
    assert views(demo) == dict.fromkeys(slugs[:4], 1)


async def test_use_of_a_key_in_an_outage_is_recorded_after_it(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    issued = await create_key(resources.db, Actor(shop.id, "test"), "till", [Scope.READ], ip_allow_list=[], days=None)
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    recorder = TrafficRecorder(replace(resources, db=nowhere))
    recorder.record_key_use(issued.facts.prefix)
    await recorder.flush()
    await nowhere.close()
    recorder._resources = resources
    await recorder.flush()
    used = demo.execute("SELECT prefix FROM api_keys WHERE last_used_at IS NOT NULL").fetchall()
    assert used == [(issued.facts.prefix,)]


async def test_events_refer_to_their_own_shops_registry_by_slug(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]
) -> None:
    row = demo.execute(
        "SELECT i.id, i.registry_id, i.variant_id FROM registry_items i JOIN registries r ON r.id = i.registry_id"
        " WHERE r.slug = %s", [slugs[0]]
    ).fetchone()  # fmt: skip
    other = demo.execute("SELECT id, slug FROM registries WHERE shop_id <> %s", [shop.id]).fetchone()
    assert row
    assert other
    recorder = TrafficRecorder(resources)
    recorder.add_events(
        [
            event(shop.id, slugs[0]),
            event(shop.id, slugs[0], row[0]),
            event(shop.id, slugs[1], row[0]),  # of another registry
            event(shop.id, str(row[1])),
            event(shop.id, other[1]),
            event(shop.id, "nothing"),
        ]
    )
    await recorder.flush()
    written = demo.execute("SELECT registry_id, data FROM analytics_events ORDER BY data::text DESC").fetchall()
    assert written == [(row[1], {}), (row[1], {"item_id": row[0], "variant_id": row[2]})]


async def test_events_over_the_pending_limit_are_refused_and_none_is_lost(
    resources: Resources, demo: Demo, shop: ShopRef, slugs: list[str]
) -> None:
    recorder = TrafficRecorder(resources)
    assert recorder.add_events([event(shop.id, slugs[0])] * MAX_PENDING_EVENTS)
    assert not recorder.add_events([event(shop.id, slugs[0])])
    await recorder.flush()
    assert recorder.add_events([event(shop.id, slugs[0])])
    await recorder.flush()
    assert demo.execute("SELECT count(*) FROM analytics_events").fetchone() == (MAX_PENDING_EVENTS + 1,)


async def test_events_that_are_being_saved_count_towards_the_pending_limit(
    resources: Resources, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While PostgreSQL hangs, each flush takes seconds: as many again would be accepted meanwhile, each time."""
    recorder = TrafficRecorder(resources, max_pending_events=10)

    async def hang(*_: object) -> None:
        assert recorder.add_events([event(shop.id, "smith")] * 4)
        assert not recorder.add_events([event(shop.id, "smith")] * 5)
        raise DatabaseUnavailable("no answer")

    monkeypatch.setattr("wishcraft.store.analytics_events.add_events", hang)
    assert recorder.add_events([event(shop.id, "smith")] * 6)
    await recorder.flush()
    assert len(recorder._events) == 10
    assert not recorder.add_events([event(shop.id, "smith")])


async def test_counts_are_shared_also_while_postgresql_hangs(
    resources: Resources, shop: ShopRef, slugs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, limiter = TrafficRecorder(resources, flush_seconds=0.01), resources.limiter
    gone, tries = asyncio.Event(), list[int]()

    async def hang(*_: object) -> None:
        tries.append(1)
        await gone.wait()
        raise DatabaseUnavailable("no answer")

    monkeypatch.setattr("wishcraft.store.analytics_events.add_views", hang)
    running = asyncio.create_task(recorder.run())

    async def hits() -> int:
        return (await resources.usage.read([shop.id]))[shop.id].hits

    for number in range(1, 4):
        recorder.count_read(shop.id, slugs[0], CacheState.HIT, 10)
        limiter.take(Policy("visitor", 10, 60), f"guest:{number}")

        async def is_shared(number: int = number) -> bool:
            return await hits() == number

        await wait_until(is_shared)
        assert not limiter._counted
    assert tries == [1]
    gone.set()
    recorder.stop()
    await running
    assert recorder._unsaved_views == {shop.id: {slugs[0]: 3}}
