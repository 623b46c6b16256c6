"""Bounds how long Prefect's clients wait because an answer says so (`Retry-After`, RFC 9110)."""

from typing import Final

from prefect.client import base

MAX_SECONDS: Final = 30.0
"""About the longest pause that Prefect's client makes by itself."""
_parse: Final = base._parse_retry_after  # noqa: SLF001  no setting bounds what it returns


def bound_retry_after() -> None:
    """Let no client of this process wait longer than `MAX_SECONDS` before its next try.

    The maintenance page of a proxy may ask for an hour, in which a worker took no runs, and a run did not end.
    """
    base._parse_retry_after = _parse_bounded  # noqa: SLF001


def _parse_bounded(value: str) -> float | None:
    """The header's seconds, within the bound; None if it has neither seconds nor a date."""
    seconds = _parse(value)
    return None if seconds is None else min(seconds, MAX_SECONDS)
