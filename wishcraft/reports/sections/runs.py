"""The jobs' runs as a report tells of them. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

from wishcraft.reports.markdown import link
from wishcraft.reports.page import NO_DATA, Section, counted, duration, percent, quoted

COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
BAD: Final = frozenset({"failed", "crashed"})
GOOD_SUCCESS: Final = 99.0
"""Percent of the runs."""
_DAILY: Final = 7
"""What ran so often in a week is to run every day."""


class Run(NamedTuple):
    """A run that has ended; `outcome` is `completed`, `failed`, `crashed` or `cancelled`.

    It belongs to the period in which it `ended`: while it was under way, no report could tell of it.
    """

    job: str
    name: str
    outcome: str
    ended: datetime
    seconds: float
    message: str
    url: str


def jobs(now: Iterable[Run], week_before: Iterable[Run]) -> Section:
    """A row for each job, with how it did in the week before."""
    of_job, then = _by_job(now), _by_job(week_before)
    rows = [_row(job, of_job.get(job, []), then.get(job, [])) for job in sorted(of_job.keys() | then.keys())]
    header = ("job", "runs", "success", "success before", "median", "median before", "longest")
    idle = sorted(job for job, runs in then.items() if len(runs) >= _DAILY and job not in of_job)
    text = "Cancelled runs count neither way. " + (
        "`before` is the week before: what takes much longer now has more to do, or waits for a store."
        if then
        else "Of the week before there is nothing to compare with."
    )
    if idle:
        text = f"**Did not run: {', '.join(idle)}.** Is a worker up, and are the schedules on? {text}"
    finding = f"{counted(len(idle), 'job')} that did not run" if idle else ""
    return Section("Jobs", text, header, rows, finding)


def failures(runs: Iterable[Run]) -> Section:
    """The runs that failed or crashed, the last first, with where to read on."""
    bad = sorted((run for run in runs if run.outcome in BAD), key=lambda run: run.ended, reverse=True)
    if not bad:
        return Section("Failed runs", "None.")
    rows = [(link(run.name, run.url), run.job, f"{run.ended:%b %d %H:%M}", run.outcome, _reason(run)) for run in bad]
    text = (
        "Open the run: its summary says what failed and what to do about it. "
        "The next run of a job makes up for what one left."
    )
    header = ("run", "job", "ended (UTC)", "how", "why")
    return Section("Failed runs", text, header, rows, counted(len(bad), "failed run"))


def by_days_ago(runs: Iterable[Run], now: datetime) -> Mapping[int, list[Run]]:
    """The runs by how many times 24 hours before `now` they ended: 0 is the last."""
    days: defaultdict[int, list[Run]] = defaultdict(list)
    for run in runs:
        days[(now - run.ended) // timedelta(days=1)].append(run)
    return dict(days)


def success(runs: Iterable[Run]) -> float | None:
    """The percentage of the runs that completed; what was cancelled counts neither way. None if there are none."""
    counted = [run.outcome == COMPLETED for run in runs if run.outcome != CANCELLED]
    return 100 * sum(counted) / len(counted) if counted else None


def _row(job: str, now: Sequence[Run], before: Sequence[Run]) -> tuple[str, ...]:
    return job, f"{len(now):,}", _success(now), _success(before), _median(now), _median(before), _longest(now)


def _by_job(runs: Iterable[Run]) -> Mapping[str, list[Run]]:
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.job].append(run)
    return dict(found)


def _success(runs: Iterable[Run]) -> str:
    outcomes = Counter(run.outcome for run in runs)
    return percent(outcomes[COMPLETED], outcomes.total() - outcomes[CANCELLED])


def _median(runs: Sequence[Run]) -> str:
    return duration(median(run.seconds for run in runs)) if runs else NO_DATA


def _longest(runs: Sequence[Run]) -> str:
    return duration(max(run.seconds for run in runs)) if runs else NO_DATA


def _reason(run: Run) -> str:
    """The first line of what the run says, of a job's sentence the part that tells what failed."""
    line = run.message.partition("\n")[0]
    return quoted(line.partition("Failed: ")[2] or line)
