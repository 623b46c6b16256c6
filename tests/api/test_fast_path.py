"""The fast path and the route answer alike, and special requests go to the route."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.app import create_app
from api.auth.authenticator import CACHE_SECONDS
from api.middleware.request import RequestMiddleware
from benchmarks.web import open_client
from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import public_slug
from tests.support.recorded_statements import recorded_statements
from wishcraft.cache import entries, keys
from wishcraft.settings import Settings

Query = Callable[..., str]
VOLATILE = {"x-cache", "ratelimit", "x-request-id", "date"}


class Clients:
    """Clients of one application: through the fast path, and of the route alone."""

    def __init__(self, app: FastAPI, fast_path: httpx.AsyncClient, route: httpx.AsyncClient) -> None:
        self.app, self.fast_path, self.route = app, fast_path, route


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    app = create_app(settings)
    inner = RequestMiddleware(app, app.state)
    async with (
        app.router.lifespan_context(app),
        open_client(app) as fast_path,
        httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://api") as route,
    ):
        yield Clients(app, fast_path, route)


@pytest.fixture
async def clients(settings: Settings, demo: Demo) -> AsyncIterator[Clients]:
    async with open_clients(settings) as clients:
        yield clients


@pytest.fixture
def route_calls(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that reach FastAPI from here on."""
    calls: list[str] = []
    original = clients.app.middleware_stack or clients.app.build_middleware_stack()

    async def record(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await original(scope, receive, send)

    monkeypatch.setattr(clients.app, "middleware_stack", record)
    return calls


def shown(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in VOLATILE]
    return answer.status_code, answer.content, headers


async def test_fast_path_and_route_answer_alike_for_all_registries_and_callers(
    clients: Clients, demo: Demo, signed: Query
) -> None:
    rows = demo.execute("SELECT id, shop_id, slug, customer_id, visibility FROM registries").fetchall()
    assert {row[4] for row in rows} >= {"public"}
    demo.execute("UPDATE registries SET visibility = (ARRAY['public','unlisted','password','private'])[1 + id % 4]")
    hits = compared = 0
    for shop in DEMO_SHOPS:
        key = add_key(demo, shop.number).key
        for registry_id, _, slug, owner, _ in rows:
            for query, headers in (
                (signed(shop.domain), {}),
                (signed(shop.domain, owner), {}),
                (signed(shop.domain, owner + 1), {}),
                ("", {"X-API-Key": key}),
                ("", {"X-API-Key": key, "X-Customer-Id": str(owner)}),
                ("", {}),
            ):
                for ref in (slug, str(registry_id)):
                    url = f"/api/registries/{ref}?{query}"
                    await clients.route.get(url, headers=headers)  # fills the cache, and caches the caller
                    from_fast_path, from_route = (
                        await clients.fast_path.get(url, headers=headers),
                        await clients.route.get(url, headers=headers),
                    )
                    assert shown(from_fast_path) == shown(from_route), url
                    hits += from_fast_path.headers.get("x-cache") == "hit"
                    compared += 1
                    if tag := from_route.headers.get("etag"):
                        known = {**headers, "If-None-Match": f'"x", {tag}'}
                        from_fast_path = await clients.fast_path.get(url, headers=known)
                        from_route = await clients.route.get(url, headers=known)
                        assert shown(from_fast_path) == shown(from_route), url
                        assert from_fast_path.status_code == 304
    assert compared == 3 * 12 * 6 * 2
    assert hits > 50


@pytest.mark.usefixtures("one_window")
async def test_fast_path_and_route_refuse_alike(settings: Settings, demo: Demo, signed: Query) -> None:
    slug = public_slug(demo)
    other = signed(customer_id=6)
    unknown, forged = {"X-API-Key": "wc_made-up"}, signed(customer_id=5).replace("signature=", "signature=0")[:-1]
    async with open_clients(settings.model_copy(update={"rate_limit_per_minute": 3})) as clients:
        assert (await clients.route.get(f"/api/registries/none?{other}")).status_code == 404
        for status, query, headers, path in (
            (401, "", {}, slug),
            (401, "", {"X-Request-ID": "one-of-ours"}, slug),
            (401, "", unknown, slug),
            (401, forged, {}, slug),
            (401, signed(customer_id=5, at=time.time() - 1_000), {}, slug),
            (404, other, {}, "none"),
            (429, other, {}, slug),
        ):
            url = f"/api/registries/{path}" + (f"?{query}" if query else "")
            both = [await client.get(url, headers=headers) for client in (clients.fast_path, clients.route)]
            assert [answer.status_code for answer in both] == [status] * 2, url
            assert shown(both[0]) == shown(both[1]), url
            if sent := headers.get("X-Request-ID"):
                assert {answer.headers["x-request-id"] for answer in both} == {sent}
        for _ in range(60):
            await clients.fast_path.get(f"/api/registries/{slug}", headers=unknown)
        both = [await client.get(url, headers=unknown) for client in (clients.fast_path, clients.route)]
        assert [answer.status_code for answer in both] == [429, 429]
        assert shown(both[0]) == shown(both[1])


@pytest.mark.usefixtures("one_window")
async def test_refusals_never_reach_fastapi(
    clients: Clients, route_calls: list[str], demo: Demo, signed: Query
) -> None:
    url, other = f"/api/registries/{public_slug(demo)}", signed(customer_id=6)
    await clients.fast_path.get(f"/api/registries/none?{other}")
    route_calls.clear()
    for query, headers in (
        ("", {}),
        ("", {"X-API-Key": "wc_made-up"}),
        (signed(customer_id=5).replace("signature=", "signature=0")[:-1], {}),
    ):
        assert (await clients.fast_path.get(f"{url}?{query}" if query else url, headers=headers)).status_code == 401
    assert (await clients.fast_path.get(f"/api/registries/none?{other}")).status_code == 404
    assert route_calls == []


async def test_miss_is_counted_once_for_the_limit(
    clients: Clients, demo: Demo, key: dict[str, str], redis: Redis
) -> None:
    slug = public_slug(demo)
    left = []
    for _ in range(3):
        await redis.delete(keys.entry_key(1, slug))
        answer = await clients.fast_path.get(f"/api/registries/{slug}", headers=key)
        assert answer.headers["x-cache"] == "miss"
        left.append(int(answer.headers["ratelimit"].split(";")[1].removeprefix("r=")))
    assert [left[0] - each for each in left] == [0, 1, 2]


async def test_hit_never_reaches_fastapi(
    clients: Clients, route_calls: list[str], demo: Demo, key: dict[str, str], signed: Query
) -> None:
    slug = public_slug(demo)
    query = signed(customer_id=5)
    for url, headers in ((f"/api/registries/{slug}", key), (f"/api/registries/{slug}?{query}", {})):
        await clients.fast_path.get(url, headers=headers)
        route_calls.clear()
        answer = await clients.fast_path.get(url, headers=headers)
        assert (answer.headers["x-cache"], route_calls) == ("hit", [])


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer x"}, {"X-Customer-Id": "5"}, {"Origin": "https://a.example"}, {"X-Registry-Grant": "x"}],
)
async def test_request_with_a_special_header_goes_to_the_route(
    clients: Clients, route_calls: list[str], demo: Demo, key: dict[str, str], headers: dict[str, str]
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    for _ in range(2):
        await clients.fast_path.get(url, headers=key)
    route_calls.clear()
    await clients.fast_path.get(url, headers={**key, **headers})
    assert route_calls == [url]


@pytest.mark.parametrize(
    "zero", ["\N{ARABIC-INDIC DIGIT ZERO}", "\N{FULLWIDTH DIGIT ZERO}"], ids=["arabic-indic", "full-width"]
)
async def test_id_in_digits_outside_ascii_is_not_found(
    clients: Clients, demo: Demo, key: dict[str, str], zero: str
) -> None:
    found = demo.execute("SELECT id FROM registries WHERE slug = %s", [public_slug(demo)]).fetchone()
    assert found
    registry_id = str(found[0])
    other = "".join(chr(ord(zero) + int(digit)) for digit in registry_id)
    for client in (clients.route, clients.fast_path):
        assert (await client.get(f"/api/registries/{registry_id}", headers=key)).status_code == 200
        assert (await client.get(f"/api/registries/{other}", headers=key)).status_code == 404
    events = {"visitor_id": "b7c1d2", "events": [{"type": "registry_viewed"}]}
    answer = await clients.route.post(f"/api/registries/{other}/events", headers=key, json=events)
    assert answer.status_code == 404


async def test_changed_query_is_not_accepted_from_the_signature_cache(
    clients: Clients, demo: Demo, signed: Query
) -> None:
    slug, query = public_slug(demo), signed(customer_id=5)
    for _ in range(2):
        assert (await clients.fast_path.get(f"/api/registries/{slug}?{query}")).status_code == 200
    assert (await clients.fast_path.get(f"/api/registries/{slug}?{query.replace('id=5', 'id=6')}")).status_code == 401
    assert (await clients.fast_path.get(f"/api/registries/{slug}?{query}&x=1")).status_code == 401


async def test_expired_signature_is_not_accepted_from_the_cache(
    clients: Clients, demo: Demo, signed: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/api/registries/{public_slug(demo)}?{signed(at=time.time() - 240)}"
    for _ in range(2):
        assert (await clients.fast_path.get(url)).status_code == 200
    put_forward(monkeypatch, 70)
    assert (await clients.fast_path.get(url)).status_code == 401


def put_forward(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Put the clocks of the fast path and of the authenticator forward; the event loop's stays."""
    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + seconds,
        time=lambda: time.time() + seconds,
        now=lambda zone: datetime.now(zone) + timedelta(seconds=seconds),
    )
    for name in ("api.fast_path.time", "api.auth.authenticator.time", "api.auth.authenticator.datetime"):
        monkeypatch.setattr(name, clock)


async def test_first_request_with_a_signature_never_reaches_fastapi(
    clients: Clients, route_calls: list[str], demo: Demo, signed: Query
) -> None:
    slug = public_slug(demo)
    await clients.fast_path.get(f"/api/registries/{slug}?{signed()}")  # the shop is found, and the entry filled
    route_calls.clear()
    for number, at in enumerate((0, -1, -2, -200)):
        answer = await clients.fast_path.get(
            f"/api/registries/{slug}?{signed(customer_id=number, at=time.time() + at)}"
        )
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "hit")
    assert route_calls == []


async def test_shop_that_has_uninstalled_the_app_is_refused_once_its_cached_row_expires(
    clients: Clients, demo: Demo, signed: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, query = public_slug(demo), signed()
    for _ in range(2):
        assert (await clients.fast_path.get(f"/api/registries/{slug}?{query}")).status_code == 200
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    put_forward(monkeypatch, CACHE_SECONDS)
    for each in (query, signed(customer_id=5)):
        assert (await clients.fast_path.get(f"/api/registries/{slug}?{each}")).status_code == 401


async def test_five_hundred_readers_of_a_stale_entry_cost_one_load(
    clients: Clients, demo: Demo, key: dict[str, str], redis: Redis, queries: list[str]
) -> None:
    slug = public_slug(demo)
    url = f"/api/registries/{slug}"
    await clients.fast_path.get(url, headers=key)
    await grow_stale(redis, 1, slug)
    queries.clear()
    answers = await asyncio.gather(*(clients.fast_path.get(url, headers=key) for _ in range(500)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-cache"] for answer in answers} <= {"stale", "hit"}
    await clients.app.state.app_state.stop()
    assert len([each for each in queries if "registry_items" in each]) == 1
    assert (await clients.fast_path.get(url, headers=key)).headers["x-cache"] == "hit"


async def test_five_hundred_concurrent_misses_cost_at_most_two_loads(
    clients: Clients, demo: Demo, key: dict[str, str], queries: list[str]
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    await clients.fast_path.get("/api/registries", headers=key)
    queries.clear()
    answers = await asyncio.gather(*(clients.fast_path.get(url, headers=key) for _ in range(500)))
    assert {answer.status_code for answer in answers} == {200}
    assert len([each for each in queries if "registry_items" in each]) <= 2


async def test_reads_are_counted_for_their_shop(clients: Clients, demo: Demo, key: dict[str, str]) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    answers = [await clients.fast_path.get(url, headers=key) for _ in range(4)]
    tag = answers[0].headers["etag"]
    await clients.fast_path.get(url, headers={**key, "If-None-Match": tag})
    await clients.app.state.app_state.traffic_recorder.flush()
    used = (await clients.fast_path.get("/api/admin/usage", headers=key)).json()
    assert (used["misses"], used["hits"], used["entries"]) == (1, 4, 1)
    assert used["bytes_sent"] == 4 * len(answers[0].content)
    views = demo.execute("SELECT views FROM registry_views WHERE day = current_date AND views = 5").fetchall()
    assert len(views) == 1
    metrics = (await clients.fast_path.get("/metrics")).text
    assert 'wishcraft_shop_hits_total{shop="maple-and-pine.myshopify.com"} 4.0' in metrics
    assert "wishcraft_redis_up 1.0" in metrics


@pytest.mark.usefixtures("one_window")
async def test_rate_limit_holds_on_the_fast_path_too(settings: Settings, demo: Demo, signed: Query) -> None:
    url = f"/api/registries/{public_slug(demo)}?{signed(customer_id=5)}"
    other = f"/api/registries/{public_slug(demo)}?{signed(customer_id=6)}"
    async with open_clients(settings.model_copy(update={"rate_limit_per_minute": 5})) as clients:
        answers = [await clients.fast_path.get(url) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == [
            "r=4",
            "r=3",
            "r=2",
            "r=1",
            "r=0",
            "r=0",
        ]
        assert answers[5].headers["ratelimit-policy"] == '"visitor";q=5;w=60'
        assert 0 < int(answers[5].headers["retry-after"]) <= 60
        assert answers[5].json()["type"] == "urn:wishcraft:problem:too-many-requests"
        assert (await clients.fast_path.get(other)).status_code == 200


async def test_route_answers_when_the_fast_path_fails(
    clients: Clients, demo: Demo, key: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"/api/registries/{public_slug(demo)}"
    await clients.fast_path.get(url, headers=key)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("api.fast_path.make_etag", fail)
    assert (await clients.fast_path.get(url, headers=key)).status_code == 200
    assert "The fast path failed" in caplog.text


async def grow_stale(redis: Redis, shop_id: int, slug: str) -> None:
    key = keys.entry_key(shop_id, slug)
    entry = entries.unpack(await redis.get(key) or b"")  # type: ignore[arg-type]  # responses are not decoded
    assert entry
    await redis.set(key, entries.pack(entry._replace(header=replace(entry.header, soft_expiry_ms=1))), keepttl=True)


@pytest.fixture
def queries(clients: Clients) -> Iterator[list[str]]:
    with recorded_statements() as statements:
        yield statements
