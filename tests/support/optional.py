"""Tests that need what a machine may not have, such as a browser."""

import os
from typing import Literal, NoReturn

import pytest

Optional = Literal["chromium", "schema", "namespaces", "node", "prometheus"]


def skip_or_fail(needed: Optional, reason: str) -> NoReturn:
    """Skip the test; fail it if WISHCRAFT_REQUIRED, a comma-separated list, contains what it needs, as in CI."""
    if needed in os.environ.get("WISHCRAFT_REQUIRED", "").split(","):
        pytest.fail(f"{reason} (WISHCRAFT_REQUIRED contains {needed})")
    pytest.skip(reason)
