"""Counters add up over all processes, and are kept while Redis does not answer."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.valkey import OwnValkey
from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.counters import RUN_OUTCOMES, Counters, Series, from_zero


async def test_counts_of_all_processes_add_up(server: Server) -> None:
    for counters in (Counters(server), Counters(server)):
        counters.count("mails_total", outcome="sent")
        counters.count("mails_total", 2.5, outcome="failed")
        await counters.flush()
    read = await Counters(server).read()
    assert read["mails_total"] == [Series(("failed",), 5, {}), Series(("sent",), 2, {})]


async def test_flushed_counts_are_not_added_again(server: Server) -> None:
    counters = Counters(server)
    counters.count("mails_total", outcome="sent")
    await counters.flush()
    await counters.flush()
    assert (await counters.read())["mails_total"] == [Series(("sent",), 1, {})]


async def test_gauge_has_the_value_set_last_until_it_is_deleted(server: Server) -> None:
    first, second = Counters(server), Counters(server)
    first.set("invariant_violations", 7, invariant="cache")
    await first.flush()
    second.set("invariant_violations", 0, invariant="cache")
    await second.flush()
    assert (await first.read())["invariant_violations"] == [Series(("cache",), 0, {})]
    second.delete("invariant_violations", invariant="cache")
    await second.flush()
    assert (await first.read())["invariant_violations"] == []


async def test_histogram_buckets_are_cumulative(server: Server) -> None:
    counters = Counters(server)
    for seconds in (0.5, 1.0, 1.5, 5000.0):
        counters.observe("job_seconds", seconds, job="cache-warm")
    await counters.flush()
    [series] = (await counters.read())["job_seconds"]
    assert (series.labels, series.value) == (("cache-warm",), 5003)
    assert [series.buckets[bound] for bound in ("1.0", "5.0", "3600.0", "inf")] == [2, 3, 3, 4]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("mails", {"outcome": "sent"}),
        ("mails_total", {}),
        ("mails_total", {"outcome": "sent", "shop": "1"}),
        ("job_seconds", {"job": "cache-warm"}),
    ],
)
async def test_unknown_counter_or_labels_raise(server: Server, name: str, labels: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        Counters(server).count(name, **labels)


async def test_counter_can_be_neither_observed_nor_set(server: Server) -> None:
    with pytest.raises(ValueError, match="no histogram mails_total"):
        Counters(server).observe("mails_total", 1, outcome="sent")
    with pytest.raises(ValueError, match="no gauge mails_total"):
        Counters(server).set("mails_total", 1, outcome="sent")


async def test_each_flush_renews_the_ttl(server: Server, redis: Redis) -> None:
    counters = Counters(server)
    for _ in range(2):
        counters.count("mails_total", outcome="sent")
        await counters.flush()
        assert 0 < await redis.ttl(keys.COUNTERS) <= keys.COUNTERS_TTL_SECONDS
        await redis.expire(keys.COUNTERS, 100 * keys.COUNTERS_TTL_SECONDS)


async def test_failed_flush_keeps_the_counts_for_the_next_flush(own_valkey: OwnValkey, own_server: Server) -> None:
    counters = Counters(own_server)
    counters.count("mails_total", outcome="sent")
    counters.set("invariant_violations", 1, invariant="cache")
    counters.set("invariant_violations", 1, invariant="money")
    own_valkey.kill()
    await counters.flush()
    counters.count("mails_total", outcome="sent")
    counters.set("invariant_violations", 0, invariant="cache")
    own_valkey.start()
    await counters.flush()
    read = await counters.read()
    assert read["mails_total"] == [Series(("sent",), 2, {})]
    assert read["invariant_violations"] == [Series(("cache",), 0, {}), Series(("money",), 1, {})]


def test_series_of_known_labels_start_at_zero_and_keep_what_was_counted() -> None:
    failed = Series(("cache-warm", "failed"), 2, {})
    families = {"job_runs_total": [failed], "job_seconds": [], "job_last_success_timestamp_seconds": []}
    found = from_zero(families, {"job": ["cache-warm"]})
    runs = {each.labels: each.value for each in found["job_runs_total"]}
    assert runs == {("cache-warm", outcome): 2 * (outcome == "failed") for outcome in RUN_OUTCOMES}
    assert [(each.labels, set(each.buckets.values())) for each in found["job_seconds"]] == [(("cache-warm",), {0})]
    assert not found["job_last_success_timestamp_seconds"]


async def test_families_of_another_release_are_ignored(server: Server, redis: Redis) -> None:
    await redis.hset(keys.COUNTERS, '["of_tomorrow_total", "x"]', "1")
    await redis.expire(keys.COUNTERS, 60)
    assert "of_tomorrow_total" not in await Counters(server).read()
