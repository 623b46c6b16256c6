"""Plans a backfill: steps, each a run of the job for one past day or one shop. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final

from wishcraft.domain.periods import Days

DAY_PARAMETERS: Final = (("today",), ("until",), ("first_day", "last_day"))
"""Names that jobs use for their day: one, or both ends."""
MAX_STEPS: Final = 1_000
_LAST_ZONE: Final = timezone(timedelta(hours=-12))
"""Where each day ends last."""


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the job: its name and parameters."""

    name: str
    parameters: Mapping[str, Any]
    is_final: bool = True
    """Whether another run would find the same: its day, if it has one, is over in every time zone."""

    def tag(self, job: str) -> str:
        """A tag of the run that identifies the same step of the same job again."""
        content = json.dumps([job, dict(self.parameters)], sort_keys=True, default=str)
        return f"backfill:{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def plan(
    known: Sequence[str], days: Days, shops: Sequence[str], parameters: Mapping[str, Any], now: datetime
) -> list[Step]:
    """The steps: one for each day in order if days are given, otherwise one for each shop.

    Args:
        known: The names of the job's parameters.
        days: Both ends, or neither.
        shops: With days, each step is for all of these shops.
        parameters: Further parameters of each run.
        now: Aware; its day is the latest allowed.

    Raises:
        ValueError: The job has no such parameter, a day is missing or in the future, or there are too many steps; the
            message says what to do.
    """
    if unknown := set(parameters) - set(known):
        raise ValueError(f"the job has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    if days == Days():
        return _by_shop(known, shops, parameters)
    ends = next((names for names in DAY_PARAMETERS if set(names) <= set(known)), None)
    if ends is None:
        raise ValueError("the job is for no day: leave the first and the last day empty, and name shops")
    if shops and "shops" not in known:
        raise ValueError("the job is for all shops at once: leave the shops empty")
    chosen = {"shops": sorted(shops)} if shops else {}
    over_before = now.astimezone(_LAST_ZONE).date()
    return [
        Step(
            f"{each}" if each < over_before else f"{each}, not over",
            {**parameters, **chosen, **dict.fromkeys(ends, each)},
            is_final=each < over_before,
        )
        for each in _each(days, now.date())
    ]


def _by_shop(known: Sequence[str], shops: Sequence[str], parameters: Mapping[str, Any]) -> list[Step]:
    if "shops" not in known:
        raise ValueError("the job is for all shops at once: give the first and the last day")
    return [Step(shop, {**parameters, "shops": [shop]}) for shop in sorted(set(shops))]


def _each(days: Days, today: date) -> list[date]:
    if days.first is None or days.last is None:
        raise ValueError("give both the first and the last day, or neither")
    if days.last > today:
        raise ValueError(f"the last day, {days.last}, is yet to come")
    count = (days.last - days.first).days + 1
    if count > MAX_STEPS:
        raise ValueError(f"{count:,} days are too many at once: {MAX_STEPS:,} at most")
    return [days.first + timedelta(days=ago) for ago in range(count)]
