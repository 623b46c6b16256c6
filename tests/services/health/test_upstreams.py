"""Health of the mail server and of Shopify in /health, from the counters that all processes share."""

import pytest
from redis.asyncio import Redis

from wishcraft.cache.counters import Counters
from wishcraft.resources import Resources
from wishcraft.services.health.upstreams import (
    SPACING_SECONDS,
    WINDOW_SECONDS,
    Growth,
    RecentCounts,
    describe_mail,
    describe_shopify,
)

MINUTE = 60.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def recent(resources: Resources, clock: Clock) -> RecentCounts:
    """Counters that were read once, a minute ago."""
    found = RecentCounts(resources.counters, clock)
    await found.read()
    clock.now += MINUTE
    return found


async def growth_after(recent: RecentCounts, counters: Counters) -> Growth:
    await counters.flush()
    return await recent.read()


async def test_slow_mail_server_is_not_well(recent: RecentCounts, resources: Resources) -> None:
    for seconds in (4.0, 8.0):
        resources.counters.observe("mail_seconds", seconds)
    growth = await growth_after(recent, resources.counters)
    assert describe_mail(growth) == (False, "the mail server is slow: 6.0 s a mail (2 in the last 60 s)")


async def test_mail_server_that_answers_quickly_is_well(recent: RecentCounts, resources: Resources) -> None:
    resources.counters.observe("mail_seconds", 0.2)
    assert describe_mail(await growth_after(recent, resources.counters)) == (True, "0.2 s a mail (1 in the last 60 s)")


async def test_mail_server_that_cannot_be_reached_is_not_well(recent: RecentCounts, resources: Resources) -> None:
    resources.counters.count("mail_unavailable_total", 2)
    is_well, detail = describe_mail(await growth_after(recent, resources.counters))
    assert not is_well
    assert detail == "the mail server did not answer, or refused the connection (2 times in the last 60 s)"


async def test_what_was_counted_before_the_window_is_forgotten(
    recent: RecentCounts, resources: Resources, clock: Clock
) -> None:
    resources.counters.count("mail_unavailable_total")
    assert not describe_mail(await growth_after(recent, resources.counters))[0]
    for _ in range(int(WINDOW_SECONDS / SPACING_SECONDS) + 1):
        clock.now += SPACING_SECONDS
        growth = await recent.read()
    assert describe_mail(growth) == (True, "no mail in the last 600 s")


async def test_shops_in_trouble_are_listed_worst_first_and_bounded(recent: RecentCounts, resources: Resources) -> None:
    count = resources.counters.count
    for number in range(7):
        shop = f"shop-{number}.myshopify.com"
        count("shopify_requests_total", 40, shop=shop)
        count("shopify_throttled_total", 3 + number, shop=shop)
    count("shopify_waited_seconds_total", 12.4, shop="shop-6.myshopify.com")
    is_well, detail = describe_shopify(await growth_after(recent, resources.counters))
    assert is_well
    assert detail.startswith(
        "shops in trouble in the last 60 s: shop-6.myshopify.com (9 throttled, 12 s waited), shop-5"
    )
    assert detail.endswith("shop-2.myshopify.com (5 throttled) and 2 more")


@pytest.mark.parametrize(("failing", "is_well"), [(1, True), (2, False)])
async def test_shopify_is_not_well_if_most_shops_get_no_answer(
    recent: RecentCounts, resources: Resources, failing: int, *, is_well: bool
) -> None:
    for number in range(3):
        resources.counters.count("shopify_requests_total", 9, shop=f"shop-{number}.myshopify.com")
    for number in range(failing):
        resources.counters.count("shopify_failed_total", 4, shop=f"shop-{number}.myshopify.com")
    found, detail = describe_shopify(await growth_after(recent, resources.counters))
    assert found is is_well
    assert "shop-0.myshopify.com (4 without an answer)" in detail


async def test_flushed_redis_counts_anew(resources: Resources, clock: Clock, redis: Redis) -> None:
    resources.counters.count("shopify_requests_total", 100, shop="a.myshopify.com")
    await resources.counters.flush()
    recent = RecentCounts(resources.counters, clock)
    await recent.read()
    await redis.flushdb()
    resources.counters.count("shopify_requests_total", 5, shop="a.myshopify.com")
    clock.now += MINUTE
    growth = await growth_after(recent, resources.counters)
    assert describe_shopify(growth) == (True, "5 requests in the last 60 s, no shop in trouble")
