"""The edge and the route give the same answers; and the edge knows what is not for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg import Connection
from redis.asyncio import Redis

from api.app import create_app, create_service
from api.middleware.request import RequestMiddleware
from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.demo import add_key
from wishcraft.cache import entries, keys
from wishcraft.resources import open_resources
from wishcraft.settings import Settings

Demo = Connection[tuple[Any, ...]]
Query = Callable[..., str]
VOLATILE = {"x-cache", "ratelimit", "x-request-id"}


class Both:
    """One application, asked through its edge and past it."""

    def __init__(self, app: FastAPI, edge: httpx.AsyncClient, route: httpx.AsyncClient) -> None:
        self.app, self.edge, self.route = app, edge, route


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Both]:
    app = create_app(settings)
    inner = RequestMiddleware(app, app.state)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(create_service(app)), base_url="http://api") as edge,
        httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://api") as route,
    ):
        yield Both(app, edge, route)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time that a busy machine keeps too, though five hundred readers and their server share a thread."""
    monkeypatch.setattr("api.state.open_resources", partial(open_resources, redis_timeout=60))
    monkeypatch.setattr("wishcraft.cache.client.READ_SECONDS", 60)
    monkeypatch.setattr("wishcraft.cache.registries.REVALIDATE_SECONDS", 60)
    monkeypatch.setattr("wishcraft.cache.registries.WAIT_FOR_FILL_SECONDS", 60)


@pytest.fixture
async def both(settings: Settings, demo: Demo) -> AsyncIterator[Both]:
    assert not demo.closed
    async with opened(settings) as both:
        yield both


@pytest.fixture
def route_calls(both: Both, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that FastAPI was asked for from here on."""
    calls: list[str] = []
    original = both.app.middleware_stack or both.app.build_middleware_stack()

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await original(scope, receive, send)

    monkeypatch.setattr(both.app, "middleware_stack", noting)
    return calls


def shown(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = sorted((name, value) for name, value in answer.headers.multi_items() if name not in VOLATILE)
    return answer.status_code, answer.content, headers


async def test_edge_and_route_agree_over_all_registries_and_callers(both: Both, demo: Demo, signed: Query) -> None:
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
                    await both.route.get(url, headers=headers)  # fills, and makes the caller known
                    at_edge, at_route = (
                        await both.edge.get(url, headers=headers),
                        await both.route.get(url, headers=headers),
                    )
                    assert shown(at_edge) == shown(at_route), url
                    hits += at_edge.headers.get("x-cache") == "hit"
                    compared += 1
                    if tag := at_route.headers.get("etag"):
                        known = {**headers, "If-None-Match": f'"x", {tag}'}
                        at_edge = await both.edge.get(url, headers=known)
                        at_route = await both.route.get(url, headers=known)
                        assert shown(at_edge) == shown(at_route), url
                        assert at_edge.status_code == 304
    assert compared == 3 * 12 * 6 * 2
    assert hits > 50


async def test_a_hit_never_comes_to_fastapi(
    both: Both, route_calls: list[str], demo: Demo, key: dict[str, str], signed: Query
) -> None:
    slug = public(demo)
    query = signed(customer_id=5)
    for url, headers in ((f"/api/registries/{slug}", key), (f"/api/registries/{slug}?{query}", {})):
        await both.edge.get(url, headers=headers)
        route_calls.clear()
        answer = await both.edge.get(url, headers=headers)
        assert (answer.headers["x-cache"], route_calls) == ("hit", [])


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer x"}, {"X-Customer-Id": "5"}, {"Origin": "https://a.example"}, {"X-Registry-Grant": "x"}],
)
async def test_an_odd_request_goes_to_the_route(
    both: Both, route_calls: list[str], demo: Demo, key: dict[str, str], headers: dict[str, str]
) -> None:
    url = f"/api/registries/{public(demo)}"
    for _ in range(2):
        await both.edge.get(url, headers=key)
    route_calls.clear()
    await both.edge.get(url, headers={**key, **headers})
    assert route_calls == [url]


async def test_a_query_is_remembered_only_as_it_was_signed(both: Both, demo: Demo, signed: Query) -> None:
    slug, query = public(demo), signed(customer_id=5)
    for _ in range(2):
        assert (await both.edge.get(f"/api/registries/{slug}?{query}")).status_code == 200
    assert (await both.edge.get(f"/api/registries/{slug}?{query.replace('id=5', 'id=6')}")).status_code == 401
    assert (await both.edge.get(f"/api/registries/{slug}?{query}&x=1")).status_code == 401


async def test_a_signature_that_runs_out_is_refused_though_remembered(
    both: Both, demo: Demo, signed: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/api/registries/{public(demo)}?{signed(at=time.time() - 290)}"
    for _ in range(2):
        assert (await both.edge.get(url)).status_code == 200
    later = time.time() + 20
    monkeypatch.setattr("api.auth.authenticator.time.time", lambda: later)
    serving = both.app.state.serving
    assert serving.callers.known_by_signature({"query_string": url.partition("?")[2].encode(), "headers": []}) is None


@pytest.mark.usefixtures("unhurried")
async def test_past_its_soft_expiry_five_hundred_readers_cost_one_load(
    both: Both, demo: Demo, key: dict[str, str], redis: Redis, queries: list[str]
) -> None:
    slug = public(demo)
    url = f"/api/registries/{slug}"
    await both.edge.get(url, headers=key)
    await grow_stale(redis, 1, slug)
    queries.clear()
    answers = await asyncio.gather(*(both.edge.get(url, headers=key) for _ in range(500)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-cache"] for answer in answers} <= {"stale", "hit"}
    await both.app.state.serving.stop()
    assert len([each for each in queries if "registry_items" in each]) == 1
    assert (await both.edge.get(url, headers=key)).headers["x-cache"] == "hit"


@pytest.mark.usefixtures("unhurried")
async def test_five_hundred_readers_of_what_is_missing_cost_two_loads_at_most(
    both: Both, demo: Demo, key: dict[str, str], queries: list[str]
) -> None:
    url = f"/api/registries/{public(demo)}"
    await both.edge.get("/api/registries", headers=key)
    queries.clear()
    answers = await asyncio.gather(*(both.edge.get(url, headers=key) for _ in range(500)))
    assert {answer.status_code for answer in answers} == {200}
    assert len([each for each in queries if "registry_items" in each]) <= 2


async def test_what_is_read_is_counted_for_its_shop(both: Both, demo: Demo, key: dict[str, str]) -> None:
    url = f"/api/registries/{public(demo)}"
    answers = [await both.edge.get(url, headers=key) for _ in range(4)]
    tag = answers[0].headers["etag"]
    await both.edge.get(url, headers={**key, "If-None-Match": tag})
    await both.app.state.serving.tracker.flush()
    used = (await both.edge.get("/api/admin/usage", headers=key)).json()
    assert (used["misses"], used["hits"], used["entries"]) == (1, 4, 1)
    assert used["bytes_sent"] == 4 * len(answers[0].content)
    views = demo.execute("SELECT views FROM registry_views WHERE day = current_date AND views = 5").fetchall()
    assert len(views) == 1
    metrics = (await both.edge.get("/metrics")).text
    assert 'wishcraft_shop_hits_total{shop="maple-and-pine.myshopify.com"} 4.0' in metrics
    assert "wishcraft_redis_up 1.0" in metrics


async def test_a_caller_who_asks_too_often_is_told_so_at_the_edge_too(
    settings: Settings, demo: Demo, signed: Query
) -> None:
    url = f"/api/registries/{public(demo)}?{signed(customer_id=5)}"
    other = f"/api/registries/{public(demo)}?{signed(customer_id=6)}"
    async with opened(settings.model_copy(update={"rate_limit_per_minute": 5})) as both:
        answers = [await both.edge.get(url) for _ in range(6)]
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
        assert (await both.edge.get(other)).status_code == 200


async def test_trouble_at_the_edge_is_the_routes_to_answer(
    both: Both, demo: Demo, key: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"/api/registries/{public(demo)}"
    await both.edge.get(url, headers=key)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("api.fast_path.represent", fail)
    assert (await both.edge.get(url, headers=key)).status_code == 200
    assert "The edge failed" in caplog.text


def public(demo: Demo) -> str:
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id"
    found = demo.execute(query).fetchone()
    assert found
    return str(found[0])


async def grow_stale(redis: Redis, shop_id: int, slug: str) -> None:
    key = keys.entry_key(shop_id, slug)
    entry = entries.unpack(await redis.get(key) or b"")  # type: ignore[arg-type]  # responses are not decoded
    assert entry
    await redis.set(key, entries.pack(entry._replace(header=entry.header._replace(soft_expiry_ms=1))), keepttl=True)


@pytest.fixture
def queries(both: Both) -> list[str]:
    from sqlalchemy import event

    statements: list[str] = []
    event.listen(
        both.app.state.resources.db.engine.sync_engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(str(arguments[2])),
    )
    return statements
