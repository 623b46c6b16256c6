"""A shop's rate limit and its request counters."""

from collections.abc import Callable
from dataclasses import dataclass

from deployments.sandbox.shopify.error_response import ErrorResponse


@dataclass(slots=True)
class Counters:
    """Requests to a shop since the start of the simulator."""

    requests: int = 0
    throttled: int = 0
    points_spent: int = 0
    token_refreshes: int = 0
    token_exchanges: int = 0
    bulk_operations: int = 0
    downloads: int = 0


class LeakyBucket:
    """Leaky bucket: https://shopify.dev/docs/api/usage/limits#the-leaky-bucket-algorithm."""

    def __init__(self, points_per_second: int, clock: Callable[[], float], *, enabled: bool) -> None:
        self.enabled = enabled
        self.maximum = points_per_second * 20
        self._rate = points_per_second
        self._clock = clock
        self._available = float(self.maximum)
        self._restored_at = clock()

    def take(self, requested: int) -> None:
        """Take the requested cost before the execution.

        Raises:
            ErrorResponse: THROTTLED: there are not enough points; none were taken.
        """
        self._restore()
        if self.enabled and requested > self._available:
            raise ErrorResponse.throttled(self.cost(requested, None))
        self._available -= requested if self.enabled else 0

    def refund(self, points: int) -> None:
        """Return the difference between the requested and the actual cost."""
        self._available = min(self.maximum, self._available + points)

    def drain(self) -> None:
        """Take all points, as if by another query."""
        self._restore()
        self._available = 0.0

    def cost(self, requested: int, actual: int | None) -> dict[str, object]:
        """`extensions.cost` of a response."""
        self._restore()
        status = {
            "maximumAvailable": float(self.maximum),
            "currentlyAvailable": int(self._available),
            "restoreRate": float(self._rate),
        }
        return {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}

    def _restore(self) -> None:
        now = self._clock()
        self._available = min(self.maximum, self._available + (now - self._restored_at) * self._rate)
        self._restored_at = now
