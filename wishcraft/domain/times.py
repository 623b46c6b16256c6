"""Times as text, by the one rule of docs/operations.md: each with its zone; and as numbers. Pure."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def minute(moment: datetime, zone: tzinfo) -> str:
    """The aware time for a person, in the zone: `2026-03-14 06:00 EDT`."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def second(moment: datetime, zone: tzinfo) -> str:
    """As `minute`, to the second: `2026-03-14 06:00:07 EDT`."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def clock(moment: datetime, zone: tzinfo) -> str:
    """The time of day for a person, in the zone: `06:00 EDT`."""
    return f"{moment.astimezone(zone):%H:%M %Z}"


def day(moment: datetime, zone: tzinfo) -> str:
    """The day for a person, in the zone: `2026-03-14`."""
    return f"{moment.astimezone(zone):%Y-%m-%d}"


def utc(moment: datetime, timespec: str = "auto") -> str:
    """The aware time for a program, as RFC 3339 has it: `2026-03-14T10:00:07Z`."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def to_microseconds(moment: datetime) -> int:
    """The aware time as Unix time in microseconds."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return _EPOCH + microseconds * _MICROSECOND
