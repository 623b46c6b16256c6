"""/metrics: requests by route, cache, all processes, and a store that is down."""

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from api.exposition import metric_help
from tests.support.aliases import Demo, OpenClient
from tests.support.api import SHOP, app_state_of, public_slug
from tests.support.exposition import Sample, named, requests, samples
from tests.support.outages import postgresql_unavailable, unreachable
from tests.support.valkey import OwnValkey
from wishcraft.cache import keys
from wishcraft.cache.client import REDIS_READ_SECONDS
from wishcraft.cache.counters import FAMILIES, Kind
from wishcraft.cache.webhook_queue import QueueEntry, WebhookQueue
from wishcraft.domain.webhooks import TopicPriority
from wishcraft.settings import Settings


async def scrape(client: httpx.AsyncClient) -> dict[Sample, float]:
    await app_state_of(client).traffic_recorder.flush()  # as it does every second
    return samples((await client.get("/metrics")).text)


async def test_every_metric_is_exposed_with_its_help(client: httpx.AsyncClient) -> None:
    text = (await client.get("/metrics")).text
    help_texts = dict(
        line.removeprefix("# HELP ").split(" ", 1) for line in text.splitlines() if line.startswith("# HELP ")
    )
    assert help_texts == metric_help()
    assert all(name.startswith("wishcraft_") for name in help_texts)


async def test_requests_are_counted_by_route_template_and_responder(
    client: httpx.AsyncClient, demo: Demo, key: dict[str, str]
) -> None:
    route, slug = "/api/registries/{ref}", public_slug(demo)
    before = await scrape(client)
    for _ in range(3):
        tag = (await client.get(f"/api/registries/{slug}", headers=key)).headers["etag"]
    await client.get(f"/api/registries/{slug}", headers=key | {"If-None-Match": tag})
    await client.put(f"/api/registries/{slug}", headers=key)
    await client.get(f"/api/registries/{slug}")
    await client.post("/api/registries", headers=key, content=b"x" * 100_000)
    await client.get(f"/nothing/{slug}")
    after = await scrape(client)
    expected = {
        requests(route, 200): 1,
        requests(route, 200, "edge"): 2,
        requests(route, 304, "edge"): 1,
        requests(route, 405, method="PUT"): 1,
        requests(route, 401, "edge"): 1,
        requests("unmatched", 413, method="POST"): 1,
        requests("unmatched", 404): 1,
    }
    assert {name: after[name] - before.get(name, 0) for name in expected} == expected
    assert slug not in str(after)


async def test_time_spent_on_the_fast_path_counts_for_the_route(
    settings: Settings, open_client: OpenClient, demo: Demo, key: dict[str, str], own_valkey: OwnValkey
) -> None:
    seconds = named(
        "wishcraft_request_seconds_sum", method="GET", route="/api/registries/{ref}", status="200", by="route"
    )
    async with open_client(settings.model_copy(update={"redis_url": own_valkey.url})) as client:
        await client.get(f"/api/registries/{public_slug(demo)}", headers=key)  # caches the key for the fast path
        before = (await scrape(client))[seconds]
        own_valkey.pause()
        await client.get(f"/api/registries/{public_slug(demo)}", headers=key)
        assert (await scrape(client))[seconds] - before >= REDIS_READ_SECONDS
        own_valkey.resume()


async def test_reads_are_counted_by_cache_state(client: httpx.AsyncClient, demo: Demo, key: dict[str, str]) -> None:
    before = await scrape(client)
    for _ in range(3):
        await client.get(f"/api/registries/{public_slug(demo)}", headers=key)
    after = await scrape(client)
    states = {state: named("wishcraft_cache_reads_total", state=state) for state in ("hit", "miss", "stale", "bypass")}
    assert {state: after[name] - before[name] for state, name in states.items()} == {
        "hit": 2,
        "miss": 1,
        "stale": 0,
        "bypass": 0,
    }
    assert after[named("wishcraft_cache_fills_total", outcome="stored")] == 1
    assert after[named("wishcraft_shop_hits_total", shop=SHOP)] == 2


async def test_counts_of_jobs_are_exposed_by_every_process(client: httpx.AsyncClient) -> None:
    counters = app_state_of(client).resources.counters
    counters.observe("job_seconds", 42, job="cache-warm")
    counters.count("job_runs_total", job="cache-warm", outcome="completed")
    counters.set("invariant_violations", 3, invariant="money")
    samples = await scrape(client)
    assert samples[named("wishcraft_job_runs_total", job="cache-warm", outcome="completed")] == 1
    assert samples[named("wishcraft_invariant_violations", invariant="money")] == 3
    assert samples[named("wishcraft_job_seconds_sum", job="cache-warm")] == 42
    bucket = "wishcraft_job_seconds_bucket"
    bounds = {bound: samples[named(bucket, job="cache-warm", le=bound)] for bound in ("30.0", "60.0", "+Inf")}
    assert bounds == {"30.0": 0, "60.0": 1, "+Inf": 1}


async def test_counters_start_at_zero_before_the_first_event(client: httpx.AsyncClient) -> None:
    """Prometheus sees an increase only from a value."""
    samples = await scrape(client)
    for outcome in ("sent", "suppressed", "refused", "failed", "postponed", "held"):
        assert samples[named("wishcraft_mails_total", outcome=outcome)] == 0
    assert samples[named("wishcraft_mail_outcomes_total", shop=SHOP, provider="smtp", outcome="bounced")] == 0
    assert samples[named("wishcraft_shopify_failed_total", shop=SHOP)] == 0
    assert samples[named("wishcraft_webhooks_handled_total", outcome="dead")] == 0
    assert samples[named("wishcraft_mail_seconds_count")] == 0
    for name, family in FAMILIES.items():
        if family.kind is Kind.COUNTER and "job" not in family.labels:  # Prefect names the jobs
            assert any(each == f"wishcraft_{name}" for each, _ in samples), name


async def test_redis_keys_are_counted_by_kind(client: httpx.AsyncClient, redis: Redis) -> None:
    await redis.set(keys.entry_key(1, "a"), "x", ex=100)
    await redis.set(keys.entry_key(1, "b"), "x", ex=300)
    samples = await scrape(client)
    assert samples[named("wishcraft_redis_keys", kind="entry")] == 2
    lives = [
        samples[named("wishcraft_redis_key_ttl_seconds", kind="entry", quantile=each)] for each in ("0", "0.5", "1")
    ]
    assert lives == pytest.approx([100, 200, 300], abs=45)
    assert samples[named("wishcraft_redis_memory_bytes")] > 0
    assert samples[named("wishcraft_redis_evictions_total")] >= 0


async def test_webhooks_that_wait_in_inbox_and_queue_and_dead_letters_are_counted(
    client: httpx.AsyncClient, demo: Demo
) -> None:
    demo.execute("TRUNCATE webhook_events")
    assert await webhook_gauges(client) == {"queued": 0, "waiting": 0, "lag_seconds": 0, "dead_letters": 0}
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, due_at, outcome, handled_at)
           SELECT 'a.shop', n, 'orders/create', now() + CAST(due AS interval), outcome,
               CASE WHEN outcome IS NOT NULL THEN now() END
           FROM (VALUES ('1', '-90 seconds', NULL), ('2', '-1 second', NULL), ('3', '1 hour', NULL),
                        ('4', '-1 day', 'dead'), ('5', '-1 day', 'applied'), ('6', '-1 day', 'dead'))
                AS w (n, due, outcome)"""
    )
    queue = WebhookQueue(app_state_of(client).resources.redis)
    await queue.enqueue([QueueEntry(number, "a.shop", TopicPriority.HIGH) for number in (1, 2)])
    gauges = await webhook_gauges(client)
    lag = gauges.pop("lag_seconds")
    assert gauges == {"queued": 2, "waiting": 3, "dead_letters": 2}
    assert lag >= 90
    demo.execute("TRUNCATE webhook_events")


async def webhook_gauges(client: httpx.AsyncClient) -> dict[str, float]:
    names = {
        "queued": "wishcraft_webhooks_queued",
        "waiting": "wishcraft_webhooks_waiting",
        "lag_seconds": "wishcraft_webhook_lag_seconds",
        "dead_letters": "wishcraft_webhook_dead_letters",
    }
    samples = await scrape(client)
    return {gauge: samples[named(name)] for gauge, name in names.items()}


@pytest.mark.parametrize("gone", [("redis_url",), ("database_url",), ("database_url", "redis_url")])
async def test_metrics_are_exposed_whichever_store_is_down(
    settings: Settings, open_client: OpenClient, demo: Demo, gone: tuple[str, ...]
) -> None:
    async with open_client(unreachable(settings, *gone)) as client:
        samples = await scrape(client)
    assert samples[named("wishcraft_redis_up")] == ("redis_url" not in gone)
    assert samples[named("wishcraft_part_health", part="database")] == ("database_url" not in gone)
    assert samples[named("wishcraft_db_connections_limit")] == 10
    names = {name for name, _ in samples}
    assert ("wishcraft_redis_memory_bytes" in names) == ("redis_url" not in gone)
    assert ("wishcraft_webhooks_queued" in names) == ("redis_url" not in gone)
    assert ("wishcraft_webhook_lag_seconds" in names) == ("database_url" not in gone)


async def test_shop_metrics_keep_their_domains_while_postgresql_is_down(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    hits = named("wishcraft_shop_hits_total", shop=SHOP)
    assert hits in await scrape(client)
    with postgresql_unavailable(settings):
        app_state_of(client).metrics._shops._expires_at = 0
        samples = await scrape(client)
    assert hits in samples


async def test_empty_metrics_token_opens_nothing_in_production(
    settings: Settings, open_client: OpenClient, demo: Demo
) -> None:
    config = settings.model_copy(update={"metrics_token": SecretStr(""), "environment": "production"})
    async with open_client(config) as client:
        assert (await client.get("/metrics")).status_code == 404
