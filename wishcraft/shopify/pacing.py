"""When a request may be sent: time, the points of a shop's bucket, and pauses between attempts. No I/O but sleeping."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

_FIRST_CAP: Final = 0.5
_HIGHEST_CAP: Final = 8.0


class Clock(Protocol):
    """Time as the client meets it; tests bring one that does not make them wait."""

    def now(self) -> datetime:
        """Aware UTC, to compare with expiry times."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, to measure intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return no sooner than `seconds` from now."""
        ...


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Pause this task."""
        await asyncio.sleep(seconds)


def backoff_cap(attempt: int) -> float:
    """The longest pause, in seconds, after the given failed attempt (0 is the first); full jitter draws from 0 to it.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return float(min(_HIGHEST_CAP, _FIRST_CAP * 2**attempt))


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
        """From `extensions.cost.throttleStatus`; `ValueError` for a rate at which nothing would ever come back."""
        rate = float(status["restoreRate"])
        if rate <= 0:
            raise ValueError("the restore rate is not positive")
        return cls(float(status["maximumAvailable"]), float(status["currentlyAvailable"]), rate)


class Bucket:
    """One shop's points, shared by this client's queries to it: what Shopify said last, less what is on its way.

    Nothing is known before the first answer, and then nothing is waited for.
    """

    def __init__(self) -> None:
        self.status: ThrottleStatus | None = None
        self._seen_at = 0.0
        self._reserved = 0.0

    def reserve(self, points: float, now: float) -> float:
        """Set `points` aside for a query and say how many seconds it must wait; `release` gives them back."""
        self._reserved += points
        if self.status is None:
            return 0.0
        rate = self.status.restore_rate
        available = min(self.status.maximum_available, self.status.currently_available + (now - self._seen_at) * rate)
        return max(0.0, (self._reserved - available) / rate)

    def release(self, points: float) -> None:
        """Hand back what `reserve` set aside: the query was answered, and Shopify's own count includes it."""
        self._reserved -= points

    def learn(self, status: ThrottleStatus, now: float) -> None:
        """Take over what Shopify says."""
        self.status, self._seen_at = status, now
