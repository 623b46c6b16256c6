from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lifetimes import fixed, simulate
from wishcraft.domain.cached_registry import LONGEST_LIFETIME, SHORTEST_LIFETIME, soft_lifetime

AGES = st.timedeltas(timedelta(seconds=-5), timedelta(days=4000))
DAYS = st.integers(-4000, 4000) | st.none()


@pytest.mark.parametrize(
    ("unchanged_for", "hours"),
    [
        (timedelta(0), 2),
        (timedelta(hours=20), 2),
        (timedelta(hours=30), 3),
        (timedelta(days=5), 12),
        (timedelta(days=500), 12),
    ],
)
def test_lifetime_is_a_tenth_of_the_time_without_a_change(unchanged_for: timedelta, hours: float) -> None:
    assert soft_lifetime(unchanged_for, None) == timedelta(hours=hours)
    assert soft_lifetime(unchanged_for, 60) == timedelta(hours=hours)


@pytest.mark.parametrize(("days", "is_near"), [(8, False), (7, True), (0, True), (-1, True), (-2, False)])
def test_lifetime_near_the_event_is_the_shortest(days: int, is_near: bool) -> None:
    assert (soft_lifetime(timedelta(days=90), days) == SHORTEST_LIFETIME) is is_near


def test_in_a_simulated_week_cache_warm_renews_less_than_a_third() -> None:
    before, now = simulate(fixed, registries=100), simulate(soft_lifetime, registries=100)
    assert now.by_warm < before.by_warm / 3
    assert now.by_readers < before.by_readers / 2


@given(AGES, DAYS)
def test_lifetime_is_bounded(age: timedelta, days: int | None) -> None:
    assert SHORTEST_LIFETIME <= soft_lifetime(age, days) <= LONGEST_LIFETIME


@given(AGES, AGES, DAYS)
def test_what_is_unchanged_for_longer_is_fresh_for_at_least_as_long(
    age: timedelta, other: timedelta, days: int | None
) -> None:
    shorter, longer = sorted([age, other])
    assert soft_lifetime(shorter, days) <= soft_lifetime(longer, days)
