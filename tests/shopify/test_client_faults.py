"""Every fault raises its typed error, and transient faults are retried first."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import uvicorn

from deployments.sandbox.shopify.app import create_app
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.order import Customer
from deployments.sandbox.shopify.orders import WantedLine
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET, Options
from tests.support.connections import listening
from tests.support.shopify_world import SHOP, FakeClock, MemoryTokens, World
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import (
    ShopClosed,
    ShopifyForbidden,
    ShopifyQueryInvalid,
    ShopifyRefused,
    ShopifyUnauthorized,
    ShopifyUnavailable,
    WishCraftError,
)
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.inventory_levels import ITEMS, read_levels
from wishcraft.shopify.orders import find_deleted_orders, read_changed_orders
from wishcraft.shopify.retries import MAX_RETRIES
from wishcraft.shopify.variants import read_variants


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.MALFORMED])
async def test_transient_fault_is_retried(kind: FaultKind, world: World) -> None:
    world.shop.faults.set(Fault(kind, remaining=MAX_RETRIES))
    assert len(await read_variants(world.client, SHOP, world.ids())) == 250


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.UNAVAILABLE, ShopifyUnavailable),
        (FaultKind.MALFORMED, ShopifyUnavailable),
        (FaultKind.EXPIRED_TOKEN, ShopifyUnauthorized),
        (FaultKind.FORBIDDEN, ShopifyForbidden),
        (FaultKind.FROZEN, ShopClosed),
        (FaultKind.LOCKED, ShopClosed),
        (FaultKind.INACTIVE, ShopClosed),
    ],
)
async def test_lasting_fault_raises_its_typed_error(kind: FaultKind, error: type[WishCraftError], world: World) -> None:
    world.shop.faults.set(Fault(kind, remaining=None))
    with pytest.raises(error):
        await read_variants(world.client, SHOP, world.ids())


async def test_answer_in_another_version_than_asked_for_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await read_variants(world.client, SHOP, world.ids(1))
    assert not caplog.records
    client = world.another_client(api_version="2025-10")
    for _ in range(2):
        await read_variants(client, SHOP, world.ids(1))
    [logged] = caplog.records
    assert (logged.levelname, "in API version 2026-10" in logged.message) == ("ERROR", True)


async def test_forbidden_query_is_counted_and_not_retried(world: World) -> None:
    counted: list[str] = []

    def count(name: str, by: float = 1, **labels: str) -> None:
        assert (by, labels) == (1, {"shop": SHOP})
        counted.append(name)

    client = world.another_client(count=count)
    world.shop.faults.set(Fault(FaultKind.FORBIDDEN, remaining=1))
    with pytest.raises(ShopifyForbidden, match="closed the shop or, if all fail, the app's IP allowlist"):
        await read_variants(client, SHOP, world.ids(1))
    assert counted == ["shopify_requests_total", "shopify_forbidden_total"]


async def test_forbidden_token_request_does_not_ask_the_merchant_to_install_the_app(world: World) -> None:
    world.tokens.tokens[SHOP] = OfflineToken("shpat_any", "shprt_any", world.clock.now())
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(403))) as world.http:
        with pytest.raises(ShopifyForbidden):
            await read_variants(world.another_client(), SHOP, [1])


async def test_pauses_between_attempts_grow_with_full_jitter(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=MAX_RETRIES))
    await read_variants(world.another_client(jitter=lambda low, cap: low + cap / 4), SHOP, world.ids(1))
    assert world.clock.slept == [cap / 4 for cap in (0.5, 1.0, 2.0)]


@pytest.mark.parametrize(
    "query", ["{ nodes(ids: ", "{ shop { nothing } }", "{ productVariants { nodes { id } } }"]
)  # fmt: skip
async def test_refused_query_is_not_retried(query: str, world: World) -> None:
    with pytest.raises(ShopifyQueryInvalid):
        await world.client.query(SHOP, query, {})
    assert world.shop.counters.requests == 1


async def test_query_over_the_cost_limit_raises(world: World) -> None:
    query = "{ products(first: 250) { nodes { variants(first: 100) { nodes { id } } } } }"
    with pytest.raises(ShopifyQueryInvalid, match="exceeds the single query max cost limit"):
        await world.client.query(SHOP, query, {})


async def test_query_that_costs_more_than_expected_is_divided(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.EXPENSIVE, remaining=None))
    ids = world.ids()
    readings = await read_variants(world.client, SHOP, ids)
    assert list(readings) == ids
    items = [reading.inventory_item_id for reading in readings.values() if reading]
    assert list(await read_levels(world.client, SHOP, items[:ITEMS])) == items[:ITEMS]
    made = [world.shop.orders.create([WantedLine(number, 1, {})], Customer(1, "", "", "")).id for number in ids[:20]]
    hour = timedelta(hours=1)
    pages = read_changed_orders(world.client, SHOP, world.clock.now() - hour, world.clock.now() + hour)
    assert [order["id"] async for _, page in pages for order in page] == made
    assert await find_deleted_orders(world.client, SHOP, [*made, 7]) == [7]


async def test_deleted_shop_raises_shopify_refused(world: World) -> None:
    world.tokens.tokens["gone.myshopify.com"] = OfflineToken("shpat_any")
    with pytest.raises(ShopifyRefused, match="404"):
        await read_variants(world.client, "gone.myshopify.com", [1])


@pytest.fixture
async def live() -> AsyncIterator[tuple[World, str]]:
    """The simulator behind a real socket, and a client with a timeout of 2 s."""
    clock = FakeClock()
    app = create_app(Options(products=5, clock=clock, hang_seconds=4))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.serve([listener]))
    async with httpx.AsyncClient(timeout=2) as http:
        world = World(http, app.state.simulator, clock)
        yield world, origin
    server.should_exit = True
    await serving


def client_at(origin: str, world: World) -> ShopifyClient:
    return ShopifyClient(
        world.http,
        world.tokens,
        origin=f"{origin}/{{shop}}",
        api_version="2026-10",
        api_key=API_KEY,
        api_secret=API_SECRET,
        clock=world.clock,
    )


async def test_timeout_is_retried(live: tuple[World, str]) -> None:
    world, origin = live
    world.shop.faults.set(Fault(FaultKind.HANG, remaining=1))
    assert len(await read_variants(client_at(origin, world), SHOP, world.ids(5))) == 5


async def test_repeated_timeouts_raise_shopify_unavailable(live: tuple[World, str]) -> None:
    world, origin = live
    world.http.timeout = 0.2  # no answer would be in time
    world.shop.faults.set(Fault(FaultKind.HANG, remaining=None))
    with pytest.raises(ShopifyUnavailable, match="read timeout"):
        await read_variants(client_at(origin, world), SHOP, world.ids(5))


async def test_refused_connection_raises_shopify_unavailable(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        origin = f"http://127.0.0.1:{closed.getsockname()[1]}"
    world.http = httpx.AsyncClient()
    with pytest.raises(ShopifyUnavailable, match="connect error"):
        await read_variants(client_at(origin, world), SHOP, [1])


async def test_aborted_connections_raise_shopify_unavailable(world: World) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    async with listening(cut) as port, httpx.AsyncClient() as world.http:
        with pytest.raises(ShopifyUnavailable, match="remote protocol error"):
            await read_variants(client_at(f"http://127.0.0.1:{port}", world), SHOP, [1])
    assert len(world.clock.slept) == MAX_RETRIES


async def test_errors_and_reprs_show_no_secret(world: World) -> None:
    token = OfflineToken("shpat_hidden", "shprt_hidden", world.clock.now())
    world.tokens.tokens[SHOP] = token
    client = world.another_client(api_secret="secret_hidden")
    with pytest.raises(ShopifyUnauthorized) as caught:
        await read_variants(client, SHOP, [1])
    shown = [repr(caught.value), str(caught.value), repr(client), repr(token), repr(MemoryTokens())]
    assert not any("hidden" in text for text in shown)
    assert not any(demo in text for text in shown for demo in ("shpat_", "shprt_"))
