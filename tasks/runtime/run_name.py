"""Names of runs: the job, what the run is about, and when it was due (`sync-inventory · 3 shops · 13:15 EST`)."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from prefect.client.schemas.objects import FlowRun

from tasks.runtime.run_context import current_run
from wishcraft.domain import times
from wishcraft.domain.backfills import DAY_PARAMETERS
from wishcraft.reports.page import short_name
from wishcraft.settings import time_zone

_CHOICES: Final = ("job", "table", "action")
"""Parameters that choose what a job does."""
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")
"""A shop, day or choice as it should be written: a mistyped one, which may be anything, does not get into the name."""


def current_run_name() -> str:
    """Prefect's hook: name the run that begins, before its parameters are checked."""
    flow, run = current_run()
    return name_run(flow.name, flow.parameters.properties, run)


def name_run(job: str, known: Mapping[str, Any], run: FlowRun) -> str:
    """The name of a run. Its time is that when the run was due, in the time zone of TZ.

    Args:
        job: Name of the flow.
        known: The flow's parameters, by name.
        run: The run as Prefect's server created it.
    """
    due = run.expected_start_time or run.created
    parts = [job, *scope(known, run.parameters or {}), times.clock(due, time_zone()) if due else ""]
    return " · ".join(part for part in parts if part)


def scope(known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The scope of a run by its parameters, which may be invalid: its choice, shops, days, and whether it is a dry run.

    `known` are the parameters that the flow has, each with its default if it has one.
    """
    values = {name: given.get(name, known[name].get("default")) for name in known}
    parts = [_word(values.get(name)) for name in _CHOICES]
    if "shops" in known:
        parts.append(_shops(values["shops"]))
    if "shop" in known and (values["shop"] or "default" in known["shop"]):  # without a default, it is never all
        parts.append(_shops(values["shop"]))
    parts += [_days([values.get(name) for name in names]) for names in DAY_PARAMETERS]
    if values.get("dry_run") is True:
        parts.append("dry run")
    return [part for part in parts if part]


def _shops(value: object) -> str:
    names = value if isinstance(value, list | tuple) else [value] if value else []
    if not names:
        return "all shops"
    return f"{len(names):,} shops" if len(names) > 1 else _word(names[0]) or "1 shop"


def _days(values: Sequence[object]) -> str:
    first, last = _day(values[0]), _day(values[-1])
    if first == last:
        return first
    if first and last:
        return f"{first} to {last}"
    return f"from {first}" if first else f"to {last}"


def _day(value: object) -> str:
    """The day, if the calendar has it."""
    text = _word(value)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def _word(value: object) -> str:
    text = str(value).strip().lower() if isinstance(value, str | date) and not isinstance(value, datetime) else ""
    return short_name(text) if _WORD.fullmatch(text) else ""
