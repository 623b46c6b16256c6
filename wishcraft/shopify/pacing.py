"""Rate limiting on the client side: a leaky bucket of points per shop, backoff, and the clock. No I/O but sleeping."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

_FIRST_CAP_SECONDS: Final = 0.5
_HIGHEST_CAP_SECONDS: Final = 8.0


class Clock(Protocol):
    """The client's source of time; tests use one that does not wait."""

    def now(self) -> datetime:
        """Aware UTC, to compare with expiry times."""
        ...

    def monotonic(self) -> float:
        """Seconds since a fixed moment, to measure intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for at least `seconds`."""
        ...


class SystemClock:
    """The system's clock."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since a fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend this task."""
        await asyncio.sleep(seconds)


def backoff_cap(attempt: int) -> float:
    """The longest pause in seconds after failed attempt number `attempt` (0 is the first), for full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return float(min(_HIGHEST_CAP_SECONDS, _FIRST_CAP_SECONDS * 2**attempt))


@dataclass(frozen=True, slots=True)
class ThrottleStatus:
    """A shop's points as Shopify last reported them.

    https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits
    """

    maximum_available: float
    currently_available: float
    restore_rate: float
    """Points per second."""

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> "ThrottleStatus":
        """Parse `extensions.cost.throttleStatus`.

        Raises:
            ValueError: The restore rate is not positive.
        """
        rate = float(status["restoreRate"])
        if rate <= 0:
            raise ValueError("the restore rate is not positive")
        return cls(float(status["maximumAvailable"]), float(status["currentlyAvailable"]), rate)


class Bucket:
    """One shop's points: as Shopify last reported them, minus those reserved for queries in flight.

    Before the first response nothing is known, and no query waits.
    """

    def __init__(self) -> None:
        self.status: ThrottleStatus | None = None
        self._updated_at = 0.0
        self._reserved = 0.0

    def reserve(self, points: float, now: float) -> float:
        """Reserve points for a query; returns how many seconds it must wait. `release` frees them."""
        self._reserved += points
        if self.status is None:
            return 0.0
        rate = self.status.restore_rate
        available = min(
            self.status.maximum_available, self.status.currently_available + (now - self._updated_at) * rate
        )
        return max(0.0, (self._reserved - available) / rate)

    def release(self, points: float) -> None:
        """Free reserved points: the query was answered, and the reported status includes it."""
        self._reserved -= points

    def update(self, status: ThrottleStatus, now: float) -> None:
        """Take over the status that Shopify reported."""
        self.status, self._updated_at = status, now
