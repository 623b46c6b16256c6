"""Pauses after failed queries, by a clock of the test."""

import pytest

from tests.support.clock import Clock
from wishcraft.errors import ShopifyPaused
from wishcraft.shopify.pauses import Pauses

QUERY = 5.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pauses(clock: Clock) -> Pauses:
    return Pauses(QUERY, clock)


def begin(pauses: Pauses, shop_id: int = 1) -> float:
    """Begin a query, which must be permitted; its start."""
    pauses.check(shop_id)
    return pauses.begin_query(shop_id)


def fail(pauses: Pauses, clock: Clock, shop_id: int = 1) -> None:
    """A query that begins now and gets no answer."""
    started_at = begin(pauses, shop_id)
    clock.now += QUERY
    pauses.failed(shop_id, started_at)


def wait_of(pauses: Pauses, shop_id: int = 1) -> int:
    with pytest.raises(ShopifyPaused) as refused:
        pauses.check(shop_id)
    return refused.value.retry_after


def test_failure_pauses_the_queries_of_its_shop_alone(pauses: Pauses, clock: Clock) -> None:
    fail(pauses, clock)
    assert wait_of(pauses) == 5
    clock.now += 4.5
    assert wait_of(pauses) == 1
    assert begin(pauses, 2) == clock.now


def test_pauses_double_up_to_a_minute_while_failures_follow(pauses: Pauses, clock: Clock) -> None:
    waits = []
    for _ in range(6):
        fail(pauses, clock)
        waits.append(wait_of(pauses))
        clock.now += waits[-1]
    assert waits == [5, 10, 20, 40, 60, 60]


def test_one_query_at_a_time_tries_after_a_pause(pauses: Pauses, clock: Clock) -> None:
    fail(pauses, clock)
    clock.now += 5
    begin(pauses)
    assert wait_of(pauses) == QUERY
    clock.now += QUERY  # it never ended, as when PostgreSQL did not answer it
    begin(pauses)


def test_answer_ends_the_pauses(pauses: Pauses, clock: Clock) -> None:
    fail(pauses, clock)
    clock.now += 5
    begin(pauses)
    pauses.succeeded(1)
    for _ in range(2):
        begin(pauses)
    fail(pauses, clock)
    assert wait_of(pauses) == 5


def test_failures_together_are_one(pauses: Pauses, clock: Clock) -> None:
    started = [begin(pauses) for _ in range(10)]
    clock.now += QUERY
    for started_at in started:
        pauses.failed(1, started_at)
    assert wait_of(pauses) == 5


def test_number_of_pauses_is_bounded(clock: Clock) -> None:
    pauses = Pauses(QUERY, clock, max_shops=2)
    for shop_id in (1, 2, 3):
        started_at = begin(pauses, shop_id)
        pauses.failed(shop_id, started_at)
    begin(pauses)
    assert [wait_of(pauses, shop_id) for shop_id in (2, 3)] == [5, 5]
    assert clock.now == 100
