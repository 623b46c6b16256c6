"""The page of service levels: counts by day, the figures in words, and the plot.

The rules (objectives, error budgets, trends) are in `domain.service_levels`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Final

from wishcraft.domain import times
from wishcraft.domain.service_levels import (
    AS_BAD_SHARE,
    DAYS,
    LATENCY_SECONDS,
    LENGTHS,
    MAX_SECONDS,
    OBJECTIVES,
    WEBHOOK_SECONDS,
    Assessment,
    Count,
    Period,
    ServiceLevel,
    Tally,
    day_minutes,
    slow,
    value,
)
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.markdown import table
from wishcraft.reports.page import NO_DATA, Row, format_percent, percent_cell, plural, pluralize
from wishcraft.resources import Resources
from wishcraft.settings import time_zone
from wishcraft.store import mail_events, mail_statistics, service_minutes, webhook_statistics
from wishcraft.store.mail_events import Complaints
from wishcraft.store.mail_statistics import MailCounts
from wishcraft.store.service_minutes import Day, TrafficCounts
from wishcraft.store.webhook_statistics import WebhookCounts

_NO_TRAFFIC: Final = Day(0, TrafficCounts(0, 0, [], 0, 0, 0, 0))
_EXPLANATION: Final = (
    "Up to {end}. The budget is what may go wrong in 30 days; the trend compares them with the 30 before, of mails with"
    " the 10 before, as old invitations are deleted. Uptime counts the minutes in which a process could serve; latency"
    " and errors are those of requests to the API; hits, including stale ones, are a share of all reads of registries;"
    " jobs are the runs of those with a schedule; mails are the reminders and invitations that were sent or failed;"
    " complaints are a share of the mails that were sent; webhooks, but for those about privacy, are in time within"
    f" {WEBHOOK_SECONDS} s, and dead letters are not."
)
_NEGLIGIBLE: Final = 0.0001
"""The smallest change that counts as a trend: a hundredth of a percentage point, or a tenth of a millisecond."""


async def tally_days(resources: Resources, end: datetime, runs: Mapping[int, Count]) -> list[Tally]:
    """Count each of the last `DAYS` periods of 24 hours before `end`, the latest first.

    Args:
        resources: Clients of the stores.
        end: The end of the latest period.
        runs: The jobs' runs, which Prefect counts, by the number of days before `end`.
    """
    async with resources.db.repeatable_read() as session:
        first = await service_minutes.find_first(session)
        served = await service_minutes.sum_days(session, end, DAYS)
        complaints = await mail_events.count_complaints_by_day(session, end, DAYS)
        mailed = await mail_statistics.count_days(session, end, DAYS)
        received = await webhook_statistics.count_days(session, end, DAYS, WEBHOOK_SECONDS)
    return [
        _tally(
            day_minutes(end, days_ago, first),
            served.get(days_ago, _NO_TRAFFIC),
            mailed.get(days_ago, MailCounts(0, 0)),
            complaints.get(days_ago, Complaints()),
            received.get(days_ago, WebhookCounts(0, 0)),
            runs.get(days_ago, Count()),
        )
        for days_ago in range(DAYS)
    ]


def verdict(assessments: Sequence[Assessment]) -> str:
    """Say how much is known, which objectives are missed over it, which only recently, and which have no data."""
    month = [each for each in assessments if each.period is Period.MONTH]
    known = [each for each in month if each.met is not None]
    if not known:
        return "There is no data yet: nothing was served, run or sent."
    missed = [each for each in known if not each.met]
    missed_levels = {each.level for each in missed}
    recent = [each for each in assessments if each.met is False and each.level not in missed_levels]
    unknown = [each for each in month if each.met is None]
    also = "" if known[0].is_early else _missed_recently(recent)
    sentences = [_missed(missed, len(known), known[0]), also, _unknown(unknown)]
    return " ".join(sentence for sentence in sentences if sentence)


def overview(assessments: Sequence[Assessment]) -> str:
    """A Markdown table with a line for each objective: its budget, its value in each period, and its trend.

    While no more is known of a period than of a shorter one, both are of the same time: the shorter is left out.
    """
    found = {(each.level, each.period): each for each in assessments}
    columns = {period: [format_result(found[level, period]) for level in ServiceLevel] for period in LENGTHS}
    known = {period: found[ServiceLevel.UPTIME, period].known for period in LENGTHS}
    said = {
        shorter
        for shorter, longer in pairwise(LENGTHS)
        if known[shorter] == known[longer] and (known[longer] or columns[shorter] == columns[longer])
    }
    shown = [period for period in LENGTHS if period not in said]
    lines = []
    for place, level in enumerate(ServiceLevel):
        month = found[level, Period.MONTH]
        results = [columns[period][place] for period in shown]
        lines.append([f"{level} {month.objective.target}", format_budget(month), *results, format_trend(month)])
    header = [format_known(found[ServiceLevel.UPTIME, period]) for period in shown]
    return table(["objective", "budget left", *header, "trend"], lines)


def rows(assessments: Sequence[Assessment]) -> list[Row]:
    """The rows of the table artifact: one for each objective and period."""
    return [
        {
            "objective": f"{each.level} {each.objective.target}",
            "period": each.period,
            "known": format_known(each),
            "value": format_result(each),
            "budget left": format_budget(each),
            "share left": NO_DATA if each.budget_left is None else percent_cell(each.budget_left),
            "bad": f"{each.count.bad:,} of {each.count.all:,}",
            "before": format_value(each.level, each.before, percent_cell),
        }
        for each in assessments
    ]


def explanation(end: datetime) -> str:
    """The definitions of the figures, and the time up to which they count, in the time zone of TZ."""
    return _EXPLANATION.format(end=times.minute(end, time_zone()))


def draw_days(days: Sequence[Tally], end: datetime) -> str:
    """Draw the last month day by day as a Markdown image; `days` are those of `tally_days`."""
    from wishcraft.reports.plots import TimeSeries, draw, markdown_image  # here: matplotlib takes a second

    month = list(reversed(days[: LENGTHS[Period.MONTH]]))
    last = (end - timedelta(hours=12)).astimezone(time_zone()).date()
    middles = [last - timedelta(days=days_ago) for days_ago in reversed(range(len(month)))]
    panels = []
    for level in ServiceLevel:
        values = [value(level, day, LATENCY_BOUNDS) for day in month]
        scale = 1000 if level is ServiceLevel.LATENCY else 100
        panels.append(
            TimeSeries(
                title=f"{level} {OBJECTIVES[level].target}",
                subtitle=format_value(level, values[-1]),
                days=middles,
                values=[None if each is None else scale * each for each in values],
                unit="ms" if level is ServiceLevel.LATENCY else "%",
                objective=scale * _objective(level),
                above=level not in {ServiceLevel.LATENCY, *AS_BAD_SHARE},
            )
        )
    return markdown_image(draw(panels), "Day by day: " + ", ".join(ServiceLevel))


def format_result(assessment: Assessment) -> str:
    """Format the value for a cell, after a mark for met or missed: `✗ 99.70 %`. It has no mark while it is early."""
    if assessment.is_too_few:
        return f"{assessment.count.bad:,} of {assessment.count.all:,}: too few to judge"
    mark = {True: "✓ ", False: "✗ ", None: ""}[None if assessment.is_early else assessment.met]
    return f"{mark}{format_value(assessment.level, assessment.value, percent_cell)}"


def format_value(level: ServiceLevel, value: float | None, share: Callable[[float], str] = format_percent) -> str:
    """Format a value with its unit; `share` formats one that is a share."""
    if value is None:
        return NO_DATA
    if level is ServiceLevel.LATENCY:
        return f"{_format_number(1000 * value)} ms" if value < MAX_SECONDS else f"> {MAX_SECONDS:g} s"
    return share(value)


def format_known(assessment: Assessment) -> str:
    """Format how much of the period is known: `30 days`, `12 minutes of 30 days`."""
    minutes = assessment.known
    if assessment.is_complete:
        return assessment.period
    if minutes >= 2 * 1440:
        amount = pluralize(minutes // 1440, "day")
    else:
        amount = pluralize(minutes // 60, "hour") if minutes >= 2 * 60 else pluralize(minutes, "minute")
    return f"{amount} of {assessment.period}"


def format_budget(assessment: Assessment) -> str:
    """Format what is left of the error budget: `12 more minutes allowed (of 43)`, `used up: 50 minutes, 43 allowed`."""
    bad, noun = assessment.count.bad, assessment.objective.noun
    if assessment.met is None:
        return NO_DATA
    allowed = ceil(assessment.allowed) - 1  # as many as the budget misses the objective
    if assessment.met and allowed:
        more = pluralize(allowed - bad, f"more {noun}") if allowed > bad else f"no more {plural(noun)}"
        return f"{more} allowed (of {allowed:,})"
    limit = f"{allowed:,}" if allowed else "none"
    return f"{'untouched' if assessment.met else 'used up'}: {pluralize(bad, noun)}, {limit} allowed"


def format_trend(assessment: Assessment) -> str:
    """Format the change from the period before: `0.12 points better`."""
    gain = assessment.gain
    if gain is None:
        return "" if assessment.value is None else "nothing to compare"
    if abs(gain) < _NEGLIGIBLE:
        return "as before"
    is_latency = assessment.level is ServiceLevel.LATENCY
    change = f"{_format_number(1000 * abs(gain))} ms" if is_latency else f"{_format_number(100 * abs(gain))} points"
    at_least = "at least " if MAX_SECONDS in {assessment.value, assessment.before} else ""
    return f"{at_least}{change} {'better' if gain > 0 else 'worse'}"


def _tally(
    minutes: int, day: Day, mailed: MailCounts, complaints: Complaints, received: WebhookCounts, runs: Count
) -> Tally:
    served = day.served
    misses = served.misses + served.bypassed
    counts = {
        ServiceLevel.UPTIME: Count(minutes, max(0, minutes - day.minutes)),
        ServiceLevel.LATENCY: slow(LATENCY_BOUNDS, served.latencies),
        ServiceLevel.ERRORS: Count(served.requests, served.errors),
        ServiceLevel.CACHE: Count(served.hits + served.stale + misses, misses),
        ServiceLevel.JOBS: runs,
        ServiceLevel.MAILS: Count(mailed.sent + mailed.failed, mailed.failed),
        ServiceLevel.COMPLAINTS: Count(complaints.with_outcome, complaints.complained),
        ServiceLevel.WEBHOOKS: Count(received.all, received.late),
    }
    return Tally(counts, served.latencies)


def _missed(missed: Sequence[Assessment], known: int, month: Assessment) -> str:
    early = f"Too early to judge: {format_known(month)} are known. " if month.is_early else ""
    over = "so far" if early else f"over {format_known(month)}"
    if not missed:
        return f"{early}{'All ' if known > 1 else ''}{pluralize(known, 'objective')} met {over}."
    listed = ", ".join(
        f"{each.level} ({format_value(each.level, each.value)}, objective {each.objective.target})" for each in missed
    )
    return f"{early}Missed {over}: {listed}; {known - len(missed)} of {known} objectives are met."


def _missed_recently(recent: Iterable[Assessment]) -> str:
    """List the shortest missed period of each level: it is the one closest to now."""
    shortest = {each.level: each for each in sorted(recent, key=lambda each: -LENGTHS[each.period])}
    listed = ", ".join(
        f"{level} ({format_value(level, each.value)} over {each.period})" for level, each in shortest.items()
    )
    return f"Missed recently: {listed}." if listed else ""


def _unknown(unknown: Sequence[Assessment]) -> str:
    missing = ", ".join(each.level for each in unknown if not each.is_too_few)
    few = ", ".join(f"{each.level} ({each.count.bad:,} of {each.count.all:,})" for each in unknown if each.is_too_few)
    return " ".join(
        f"{what}: {levels}." for what, levels in (("No data", missing), ("Too few to judge", few)) if levels
    )


def _format_number(number: float) -> str:
    """Two decimals below 10, one below 100, none from there on."""
    decimals = 2 if number < 10 else 1 if number < 100 else 0  # noqa: PLR2004
    return f"{round(number, decimals):,g}" if decimals else f"{number:,.0f}"


def _objective(level: ServiceLevel) -> float:
    bad = float(OBJECTIVES[level].bad)
    return {ServiceLevel.LATENCY: LATENCY_SECONDS, **dict.fromkeys(AS_BAD_SHARE, bad)}.get(level, 1 - bad)
