"""A shop's bucket of points, and the counters that tests and demonstrations read."""

from collections.abc import Callable
from dataclasses import dataclass

from deployments.sandbox.shopify.error_response import ErrorResponse


@dataclass(slots=True)
class Counters:
    """What a shop was asked since the simulator started."""

    requests: int = 0
    throttled: int = 0
    points_spent: int = 0
    token_refreshes: int = 0
    bulk_operations: int = 0
    downloads: int = 0


class LeakyBucket:
    """Points that come back at a steady rate: https://shopify.dev/docs/api/usage/limits#the-leaky-bucket-algorithm."""

    def __init__(self, points_per_second: int, clock: Callable[[], float], *, enabled: bool) -> None:
        self.enabled = enabled
        self.maximum = points_per_second * 20
        self._rate = points_per_second
        self._clock = clock
        self._available = float(self.maximum)
        self._counted_at = clock()

    def take(self, requested: int) -> None:
        """Take the requested cost before execution.

        Raises:
            ErrorResponse: THROTTLED; nothing was taken.
        """
        self._restore()
        if self.enabled and requested > self._available:
            raise ErrorResponse.throttled(self.cost(requested, None))
        self._available -= requested if self.enabled else 0

    def refund(self, points: int) -> None:
        """Give back what the query did not cost after all."""
        self._available = min(self.maximum, self._available + points)

    def drain(self) -> None:
        """Leave nothing, as if another query had just taken it all."""
        self._restore()
        self._available = 0.0

    def cost(self, requested: int, actual: int | None) -> dict[str, object]:
        """`extensions.cost` of an answer."""
        self._restore()
        status = {
            "maximumAvailable": float(self.maximum),
            "currentlyAvailable": int(self._available),
            "restoreRate": float(self._rate),
        }
        return {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}

    def _restore(self) -> None:
        now = self._clock()
        self._available = min(self.maximum, self._available + (now - self._counted_at) * self._rate)
        self._counted_at = now
