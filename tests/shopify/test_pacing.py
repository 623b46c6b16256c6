"""The client waits exactly as long as Shopify's rate limit demands."""

import asyncio
import logging

import httpx
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from tests.support.shopify_world import SHOP, World
from wishcraft.errors import ShopifyThrottled, ShopifyUnavailable
from wishcraft.shopify.client import MAX_WAIT_SECONDS
from wishcraft.shopify.nodes import MAX_IDS
from wishcraft.shopify.pacing import Bucket, ThrottleStatus
from wishcraft.shopify.responses import read_response
from wishcraft.shopify.variants import POINTS_PER_VARIANT, read_variants

POINTS_PER_BATCH = MAX_IDS * POINTS_PER_VARIANT


async def test_no_wait_while_there_are_points(world: World) -> None:
    for _ in range(2):
        await read_variants(world.client, SHOP, world.ids())
    assert world.clock.slept == []


async def test_client_waits_exactly_for_missing_points_and_is_never_throttled(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wishcraft")
    for _ in range(4):
        await read_variants(world.client, SHOP, world.ids())
    waits = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert waits == [f"{SHOP}: waiting 8 s for points of Shopify"]  # not the shorter one
    assert world.clock.slept == [pytest.approx(2.5), pytest.approx(7.5)]  # 2,000 points, 100 a second, 750 each
    assert world.shop.counters.throttled == 0


async def test_unknown_bucket_is_learned_from_the_first_throttling(world: World) -> None:
    world.shop.bucket.drain()
    await read_variants(world.client, SHOP, world.ids())
    assert world.clock.slept == [pytest.approx(POINTS_PER_BATCH / 100)]
    assert world.shop.counters.throttled == 1


async def test_throttled_query_is_logged_with_its_shop_and_points(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.shop.bucket.drain()
    await read_variants(world.client, SHOP, world.ids())
    [line] = [record for record in caplog.records if record.name.startswith("wishcraft")]
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith(f"{SHOP}: Shopify put off a query of {POINTS_PER_BATCH:.0f} points; ")


async def test_small_query_does_not_wait_for_the_points_of_a_large_one(world: World) -> None:
    for _ in range(2):
        await read_variants(world.client, SHOP, world.ids())
        await read_variants(world.client, SHOP, world.ids(10))
    assert world.clock.slept == []


async def test_concurrent_queries_queue_for_the_points_of_their_shop(world: World) -> None:
    began = world.clock.epoch
    await read_variants(world.client, SHOP, world.ids())
    await asyncio.gather(*(read_variants(world.client, SHOP, world.ids()) for _ in range(6)))
    assert world.shop.counters.throttled == 0
    assert world.clock.epoch - began == pytest.approx((7 * POINTS_PER_BATCH - 2000) / 100)


async def test_query_does_not_wait_for_another_shops_points(world: World) -> None:
    for _ in range(2):
        await read_variants(world.client, SHOP, world.ids())
    other = "sakura-living.myshopify.com"
    await read_variants(world.client, other, [1])
    assert world.clock.slept == []
    status = world.client.throttle_status(other)
    assert status is not None
    assert status.restore_rate == 1000
    assert world.client.throttle_status("lumiere-maison.myshopify.com") is None


async def test_client_waits_for_retry_after(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.TOO_MANY_REQUESTS, remaining=2))
    await read_variants(world.client, SHOP, world.ids(1))
    assert world.clock.slept == [1.0, 1.0]
    assert world.client.seconds_waited == {SHOP: 2.0}


async def test_pauses_after_errors_of_shopify_count_as_waiting(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=2))
    await read_variants(world.client, SHOP, world.ids(1))
    assert len(world.clock.slept) == 2
    assert world.client.seconds_waited == {SHOP: sum(world.clock.slept)}
    assert sum(world.clock.slept) > 0


async def test_lasting_throttling_raises_shopify_throttled(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.THROTTLE, remaining=None))
    with pytest.raises(ShopifyThrottled, match="still throttles after"):
        await read_variants(world.client, SHOP, world.ids())
    assert MAX_WAIT_SECONDS - 8 < sum(world.clock.slept) <= MAX_WAIT_SECONDS


async def test_query_that_is_throttled_again_and_again_backs_off(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.THROTTLE))
    with pytest.raises(ShopifyThrottled):
        await read_variants(world.client, SHOP, world.ids(10))
    assert world.shop.counters.throttled < 20


async def test_unexplained_throttling_backs_off_exponentially(world: World) -> None:
    throttled = {
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {
            "cost": {
                "requestedQueryCost": 3,
                "throttleStatus": {"maximumAvailable": 2000, "currentlyAvailable": 2000, "restoreRate": 100},
            }
        },
    }
    world.http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=throttled)))
    with pytest.raises(ShopifyThrottled):
        await read_variants(world.another_client(), SHOP, [1])
    assert world.clock.slept[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_reserved_points_are_not_granted_twice() -> None:
    bucket = Bucket()
    assert bucket.reserve(750, now=0) == 0  # nothing is known yet
    bucket.release(750)
    bucket.update(ThrottleStatus(2000, 1000, 100), now=0)
    assert [bucket.reserve(750, now=0) for _ in range(3)] == [0, 5, 12.5]
    bucket.release(750)
    bucket.update(ThrottleStatus(2000, 250, 100), now=0)
    assert bucket.reserve(750, now=10) == pytest.approx(10)  # 250 + 10 s of 100, less 1,500 reserved, less 750


@pytest.mark.parametrize("rate", [0, -1])
def test_status_whose_points_are_not_restored_is_not_used(rate: int) -> None:
    status = {"maximumAvailable": 2000, "currentlyAvailable": 5, "restoreRate": rate}
    cost = {"requestedQueryCost": 10, "throttleStatus": status}
    response = read_response(httpx.Response(200, json={"data": {}, "extensions": {"cost": cost}}))
    assert (response.data, response.status) == ({}, None)


@pytest.mark.parametrize("data", [None, [], "data"])
def test_response_with_neither_data_nor_an_error_is_unavailable(data: object) -> None:
    with pytest.raises(ShopifyUnavailable, match="without data"):
        read_response(httpx.Response(200, json={"data": data}))
