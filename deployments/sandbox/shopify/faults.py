"""Faults that a person or a test switches on for one shop: for a number of requests, or with a probability."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    """The bucket is found empty: THROTTLED."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """HTTP 429 with `Retry-After: 1`."""
    SERVER_ERROR = "server_error"
    """HTTP 503 with an HTML body."""
    TIMEOUT = "timeout"
    """No answer for longer than a client waits."""
    MALFORMED = "malformed"
    """HTTP 200 with JSON that is cut off."""
    EXPIRED_TOKEN = "expired_token"  # noqa: S105  a name
    """HTTP 401."""
    BULK_FAILED = "bulk_failed"
    """A bulk operation ends FAILED."""
    BULK_CANCELED = "bulk_canceled"
    """A bulk operation ends CANCELED."""
    BULK_TRUNCATED = "bulk_truncated"
    """A download ends in the middle of a line."""


@dataclass(slots=True)
class Fault:
    """One fault; `remaining` counts down with each strike, None is until switched off."""

    kind: FaultKind
    remaining: int | None = 1
    probability: float = 1.0


class Faults:
    """The faults of one shop."""

    def __init__(self) -> None:
        self._active: dict[FaultKind, Fault] = {}
        self._random = random.Random(0)  # noqa: S311  to be the same each time

    def __iter__(self) -> Iterator[Fault]:
        """What is switched on."""
        return iter(self._active.values())

    def set(self, fault: Fault) -> None:
        """Switch a fault on, or off with `remaining` 0."""
        self._active[fault.kind] = fault
        self._drop_if_spent(fault)

    def consume(self, kind: FaultKind) -> bool:
        """Whether the fault hits this time; that uses one of its strikes."""
        fault = self._active.get(kind)
        if fault is None or self._random.random() >= fault.probability:
            return False
        if fault.remaining is not None:
            fault.remaining -= 1
            self._drop_if_spent(fault)
        return True

    def _drop_if_spent(self, fault: Fault) -> None:
        if fault.remaining is not None and fault.remaining <= 0:
            del self._active[fault.kind]
