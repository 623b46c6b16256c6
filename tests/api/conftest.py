"""Generous limits of time, except where a test is about them."""

from typing import Final

import pytest

ABOUT_LIMITS: Final = {
    "test_deadline.py",
    "test_hanging_postgresql_does_not_hide_the_other_parts",
    "test_hanging_postgresql_leaves_what_redis_holds_readable",
    "test_health_shows_redis_down_or_hanging_and_its_recovery",
    "test_time_spent_on_the_fast_path_counts_for_the_route",
}
"""Modules and tests in which stores hang or are stopped."""


@pytest.fixture(autouse=True)
def _generous_limits(request: pytest.FixtureRequest) -> None:
    if not ABOUT_LIMITS & {request.path.name, request.function.__name__}:
        hangs = request.path.name == "test_outages.py"
        request.getfixturevalue("generous_limits_of_redis" if hangs else "generous_limits")
