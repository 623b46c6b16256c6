"""Tests that need files which a machine may not have, such as a browser."""

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test; under WISHCRAFT_REQUIRE_OPTIONAL=1, as in CI, fail it."""
    if os.environ.get("WISHCRAFT_REQUIRE_OPTIONAL") == "1":
        pytest.fail(f"{reason} (required by WISHCRAFT_REQUIRE_OPTIONAL)")
    pytest.skip(reason)
