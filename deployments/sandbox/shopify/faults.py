"""Simulated faults of one shop, for a number of requests or with a probability."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.sandbox.described import DescribedEnum


class FaultKind(DescribedEnum):
    """The faults that a shop can simulate."""

    THROTTLE = "throttle", "The bucket is empty: THROTTLED."
    TOO_MANY_REQUESTS = "too_many_requests", "HTTP 429 with `Retry-After: 1`."
    UNAVAILABLE = "unavailable", "HTTP 503 with an HTML body."
    HANG = "hang", "No response for longer than a client waits."
    MALFORMED = "malformed", "HTTP 200 with truncated JSON."
    EXPIRED_TOKEN = "expired_token", "HTTP 401."
    FORBIDDEN = "forbidden", "HTTP 403, as for a request from an address that the app's IP allowlist lacks."
    FROZEN = "frozen", "HTTP 402, as for a shop that is not paid for."
    LOCKED = "locked", "HTTP 423, as for a shop that Shopify has locked."
    INACTIVE = "inactive", "HTTP 200 with SHOP_INACTIVE, as for a shop that its merchant has closed."
    PROTECTED_DATA = (
        "protected_data",
        "Names and addresses in orders are null, with ACCESS_DENIED, as for an app without approval.",
    )
    EMPTY_TOKEN = "empty_token", 'A refresh answers 200 with `"access_token": null`.'
    EXPENSIVE = "expensive", "Queries cost twice as many points: Shopify does not publish what each field costs."
    BULK_DENIED = (
        "bulk_denied",
        "No bulk operation starts: ACCESS_DENIED, as for an app whose access to them has lapsed.",
    )
    BULK_WITHOUT_FILE = "bulk_without_file", "A bulk operation ends COMPLETED with objects, but without a URL."
    BULK_FAILED = "bulk_failed", "A bulk operation ends FAILED."
    BULK_CANCELED = "bulk_canceled", "A bulk operation ends CANCELED."
    BULK_TRUNCATED = "bulk_truncated", "A download ends in the middle of a line."


@dataclass(slots=True)
class Fault:
    """An active fault, `remaining` times or (`None`) until it is removed, of each request or by chance."""

    kind: FaultKind
    remaining: int | None = None
    probability: float = 1.0


class Faults:
    """The faults of one shop."""

    def __init__(self) -> None:
        self._active: dict[FaultKind, Fault] = {}
        self.used: Counter[FaultKind] = Counter()
        """How many requests had each fault."""
        self._random = random.Random(0)  # noqa: S311  deterministic

    def __iter__(self) -> Iterator[Fault]:
        """The active faults."""
        return iter(self._active.values())

    def set(self, fault: Fault) -> None:
        """Add a fault, or remove it with `remaining` 0."""
        self._active[fault.kind] = fault
        self._remove_if_used_up(fault)

    def consume(self, kind: FaultKind) -> bool:
        """Whether the fault applies to this request; counts `remaining` down."""
        fault = self._active.get(kind)
        if fault is None or self._random.random() >= fault.probability:
            return False
        self.used[kind] += 1
        if fault.remaining is not None:
            fault.remaining -= 1
            self._remove_if_used_up(fault)
        return True

    def _remove_if_used_up(self, fault: Fault) -> None:
        if fault.remaining is not None and fault.remaining <= 0:
            del self._active[fault.kind]
