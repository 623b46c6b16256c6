"""The sections on the runs of jobs. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from statistics import median
from typing import Final, NamedTuple

from wishcraft.domain import times
from wishcraft.reports.markdown import Markup, link
from wishcraft.reports.page import NO_DATA, Section, format_duration, percent_cell, pluralize, redacted_line

COMPLETED: Final = "completed"
REFUSED: Final = "refused"
UNCOUNTED: Final = frozenset({"cancelled", REFUSED})
"""Outcomes outside the objective: a person's decision, or a wrong parameter."""
BAD: Final = frozenset({"failed", "crashed"})
GOOD_SUCCESS: Final = 99.0
"""Objective for the percentage of successful runs."""
_DAILY: Final = 7
"""Scheduled runs in a week from which on a job counts as daily."""


class Run(NamedTuple):
    """A run that has ended; `outcome` is `completed`, `failed`, `crashed`, `cancelled` or `refused`.

    It belongs to the period in which it `ended`; until then no report has it.
    """

    job: str
    name: str
    outcome: str
    ended: datetime
    seconds: float
    message: str
    url: str
    is_scheduled: bool = False
    """Whether the schedule of its job has created it; else a person or a program has."""


def jobs(now: Iterable[Run], week_before: Iterable[Run]) -> Section:
    """A row for each job, compared with the week before if there is one; as narrow as a phone.

    Most failures come first, then the longest: the page shows only the first rows.
    """
    by_job, before = _by_job(now), _by_job(week_before)
    rows = [
        _row(job, by_job.get(job, []), before.get(job, []) if before else None)
        for job in sorted(by_job.keys() | before.keys(), key=lambda job: _urgency(job, by_job.get(job, [])))
    ]
    compared = " (before)" if before else ""
    header = ("job", "runs", f"success{compared}", f"median{compared}", "longest")
    scheduled = Counter(run.job for runs in before.values() for run in runs if run.is_scheduled)
    idle = sorted(job for job, number in scheduled.items() if number >= _DAILY and job not in by_job)
    text = "Cancelled and refused runs (a wrong parameter) count neither as success nor as failure. " + (
        "`before` is the week before: a job that takes much longer now has more to do, or waits for a store."
        if before
        else "There is nothing to compare with in the week before."
    )
    refused = Counter(job for job, runs in by_job.items() for run in runs if run.outcome == REFUSED)
    if refused:
        text += f" Refused: {', '.join(f'{job} {number:,}' for job, number in sorted(refused.items()))}."
    if idle:
        text = (
            f"**Did not run: {', '.join(idle)}.** Check that a worker is running and the schedules are active. {text}"
        )
    finding = f"{pluralize(len(idle), 'job')} that did not run" if idle else ""
    return Section("Jobs", text, header, rows, finding)


def failures(runs: Iterable[Run], zone: tzinfo = UTC) -> Section:
    """The failed and crashed runs, the last first, with links; as narrow as a phone, times in this time zone."""
    bad = sorted((run for run in runs if run.outcome in BAD), key=lambda run: run.ended, reverse=True)
    if not bad:
        return Section("Failed runs", "None.")
    rows = [
        (Markup(f"{link(_name(run), run.url)} {run.outcome} at {times.minute(run.ended, zone)}"), _reason(run))
        for run in bad
    ]
    text = (
        "Open the run: its summary says what failed and what to do. "
        "The next run of the job also does what this one left undone."
    )
    return Section("Failed runs", text, ("run", "why"), rows, pluralize(len(bad), "failed run"))


def by_days_ago(runs: Iterable[Run], now: datetime) -> Mapping[int, list[Run]]:
    """Group the runs by the number of full 24 hours from their end to `now`."""
    days: defaultdict[int, list[Run]] = defaultdict(list)
    for run in runs:
        days[(now - run.ended) // timedelta(days=1)].append(run)
    return dict(days)


def success(runs: Iterable[Run]) -> float | None:
    """The percentage of runs that completed, without cancelled and refused ones; None without runs."""
    completed = [run.outcome == COMPLETED for run in runs if run.outcome not in UNCOUNTED]
    return 100 * sum(completed) / len(completed) if completed else None


def _row(job: str, now: Sequence[Run], before: Sequence[Run] | None) -> tuple[str, ...]:
    success, middle = _success(now), _median(now)
    if before is not None:
        success, middle = f"{success} ({_success(before)})", f"{middle} ({_median(before)})"
    return job, f"{len(now):,}", success, middle, _longest(now)


def _urgency(job: str, runs: Sequence[Run]) -> tuple[int, float, str]:
    bad = sum(run.outcome in BAD for run in runs)
    return -bad, -max((run.seconds for run in runs), default=0), job


def _by_job(runs: Iterable[Run]) -> Mapping[str, list[Run]]:
    by_job: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_job[run.job].append(run)
    return dict(by_job)


def _success(runs: Iterable[Run]) -> str:
    outcomes = Counter(run.outcome for run in runs if run.outcome not in UNCOUNTED)
    return percent_cell(outcomes[COMPLETED], outcomes.total())


def _median(runs: Sequence[Run]) -> str:
    return format_duration(median(run.seconds for run in runs)) if runs else NO_DATA


def _longest(runs: Sequence[Run]) -> str:
    return format_duration(max(run.seconds for run in runs)) if runs else NO_DATA


def _name(run: Run) -> str:
    """The name of the run, which begins with its job; one that never started has a name that Prefect made up."""
    return run.name if run.name.startswith(run.job) else f"{run.job} · {run.name}"


def _reason(run: Run) -> str:
    """The first line of the run's message; of a job's summary only the failures."""
    line = run.message.partition("\n")[0]
    return redacted_line(line.partition("Failed: ")[2] or line)
