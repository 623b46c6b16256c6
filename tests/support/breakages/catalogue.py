"""All breakages."""

from typing import Final

from tests.support.breakages import access, cache, jobs, orders, values, writes

BREAKAGES: Final = (
    *cache.BREAKAGES,
    *writes.BREAKAGES,
    *access.BREAKAGES,
    *jobs.BREAKAGES,
    *orders.BREAKAGES,
    *values.BREAKAGES,
)
