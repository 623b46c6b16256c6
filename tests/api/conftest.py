"""Generous limits of time, except where a test is about them."""

from typing import Final

import pytest

ABOUT_LIMITS: Final = {"test_deadline.py", "test_exposition.py", "test_health.py", "test_outages.py"}
"""Modules in which stores hang or are stopped."""


@pytest.fixture(autouse=True)
def _generous_limits(request: pytest.FixtureRequest) -> None:
    if request.path.name not in ABOUT_LIMITS:
        request.getfixturevalue("generous_limits")
