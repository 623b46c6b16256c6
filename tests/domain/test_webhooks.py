"""How long failed webhooks wait, and which come first."""

from datetime import timedelta

import pytest

from wishcraft.domain.webhooks import MAX_ATTEMPTS, TopicPriority, priority_of, retry_delay, wait_delay


def longest(_least: float, most: float) -> float:
    return most


def shortest(least: float, _most: float) -> float:
    return least


def test_delays_double_and_a_webhook_is_dead_after_a_quarter_of_an_hour() -> None:
    delays = [retry_delay(attempts, longest) for attempts in range(1, MAX_ATTEMPTS)]
    assert delays == [timedelta(seconds=2**power) for power in range(1, MAX_ATTEMPTS)]
    assert timedelta(minutes=15) < sum(delays, timedelta()) < timedelta(minutes=20)
    assert retry_delay(3, shortest) == timedelta(seconds=4)


@pytest.mark.parametrize(("age", "seconds"), [(0, 2), (60, 60), (3_600, 300)])
def test_what_waits_for_shopify_waits_as_long_as_it_has_waited_at_most(age: int, seconds: int) -> None:
    assert wait_delay(timedelta(seconds=age), longest) == timedelta(seconds=seconds)
    assert wait_delay(timedelta(seconds=age), shortest) == timedelta(seconds=seconds / 2)


def test_topic_that_is_not_subscribed_to_has_low_priority() -> None:
    assert (priority_of("orders/create"), priority_of("carts/create")) == (TopicPriority.HIGH, TopicPriority.LOW)
