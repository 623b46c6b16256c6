"""The service levels in words: a verdict, an overview and a row for each objective and period. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import floor
from typing import Final

from wishcraft.domain.service_levels import LENGTHS, LONGEST_SECONDS, Assessment, Level, Period
from wishcraft.reports.markdown import table

NO_DATA: Final = "no data"
_HOW: Final = (
    "Up to {end.day} {end:%B %Y, %H:%M} UTC. The budget is what may go wrong in 30 days; the trend compares them with"
    " the 30 before. Uptime counts the minutes in which a process could serve; latency and errors are those of requests"
    " to the API; hits, stale ones too, are of all reads of registries; jobs are the runs of deployments; mails are the"
    " reminders that were sent or given up."
)
_SAME: Final = 0.0001
"""A change that is not worth a word: a hundredth of a percentage point, or a tenth of a millisecond."""


def verdict(assessments: Sequence[Assessment]) -> str:
    """The first thing to read: what is missed over the month, then what was missed of late, then what is not known."""
    month = [each for each in assessments if each.period is Period.MONTH]
    known = [each for each in month if each.met is not None]
    if not known:
        return "There is no data yet: nothing was served, run or sent."
    missed = [each for each in known if not each.met]
    late = [
        each for each in assessments
        if each.met is False and each.level not in {other.level for other in missed}
    ]  # fmt: skip
    sentences = [_missed(missed, len(known)), _lately(late), _unknown(each for each in month if each.met is None)]
    return " ".join(sentence for sentence in sentences if sentence)


def overview(assessments: Sequence[Assessment]) -> str:
    """A line for each objective: how it was kept over each period, what is left of its budget, where it goes."""
    lines = []
    for level in Level:
        of_level = {each.period: each for each in assessments if each.level is level}
        month = of_level[Period.MONTH]
        shown = [judged(of_level[period]) for period in LENGTHS]
        lines.append([f"{level} {month.objective.target}", budget(month), *shown, trend(month)])
    return table(["objective", "budget left", *LENGTHS, "trend"], lines)


def rows(assessments: Sequence[Assessment]) -> list[dict[str, str | int | float]]:
    """The same and more, for a table: a row for each objective and period."""
    return [
        {
            "objective": f"{each.level} {each.objective.target}",
            "period": each.period,
            "value": judged(each),
            "budget left": budget(each),
            "share left": NO_DATA if each.budget_left is None else f"{floor(100 * each.budget_left)} %",
            "bad": f"{each.count.bad:,} of {each.count.all:,}",
            "before": said(each.level, each.before),
        }
        for each in assessments
    ]


def explanation(end: datetime) -> str:
    """What the figures are of."""
    return _HOW.format(end=end)


def judged(assessment: Assessment) -> str:
    """The value, with what the eye catches first: `✗ 99.71 %`."""
    mark = {True: "✓ ", False: "✗ ", None: ""}[assessment.met]
    return f"{mark}{said(assessment.level, assessment.value)}"


def said(level: Level, value: float | None) -> str:
    """A value as people say it. What is not quite all, or nothing, never reads as if it were."""
    if value is None:
        return NO_DATA
    if level is Level.LATENCY:
        return f"{_short(1000 * value)} ms" if value < LONGEST_SECONDS else f"> {LONGEST_SECONDS:g} s"
    percent = 100 * value
    shown = round(percent, 2)
    if shown == 100 > percent:  # noqa: PLR2004  all
        shown = 99.99
    return f"{shown:g} %" if shown or not percent else "under 0.01 %"


def budget(assessment: Assessment) -> str:
    """What is left of the error budget: `12 of 43 minutes`, `used up: 50 minutes, 43 allowed`."""
    bad, allowed, noun = assessment.count.bad, floor(assessment.allowed), assessment.objective.noun
    if assessment.met is None:
        return NO_DATA
    if assessment.met and allowed:
        return f"{allowed - bad:,} of {_counted(allowed, noun)}"
    most = f"{allowed:,}" if allowed else "none"
    return f"{'untouched' if assessment.met else 'used up'}: {_counted(bad, noun)}, {most} allowed"


def trend(assessment: Assessment) -> str:
    """How it changed from the period before: `0.12 points better`."""
    gain = assessment.gain
    if gain is None:
        return "" if assessment.value is None else "nothing to compare"
    if abs(gain) < _SAME:
        return "as before"
    by = f"{_short(1000 * abs(gain))} ms" if assessment.level is Level.LATENCY else f"{_short(100 * abs(gain))} points"
    least = "at least " if LONGEST_SECONDS in {assessment.value, assessment.before} else ""
    return f"{least}{by} {'better' if gain > 0 else 'worse'}"


def _missed(missed: Sequence[Assessment], known: int) -> str:
    if not missed:
        return f"{'All ' if known > 1 else ''}{_counted(known, 'objective')} met over 30 days."
    named = ", ".join(
        f"{each.level} ({said(each.level, each.value)}, objective {each.objective.target})" for each in missed
    )
    return f"Missed over 30 days: {named}; {known - len(missed)} of {known} objectives are met."


def _lately(late: Iterable[Assessment]) -> str:
    """The shortest period of each level tells what is wrong now."""
    shortest = {each.level: each for each in sorted(late, key=lambda each: -LENGTHS[each.period])}
    named = ", ".join(f"{level} ({said(level, each.value)} over {each.period})" for level, each in shortest.items())
    return f"Missed of late: {named}." if named else ""


def _unknown(unknown: Iterable[Assessment]) -> str:
    named = ", ".join(each.level for each in unknown)
    return f"No data: {named}." if named else ""


def _short(figure: float) -> str:
    """Two decimals below 10, one below 100, none above."""
    decimals = 2 if figure < 10 else 1 if figure < 100 else 0  # noqa: PLR2004
    return f"{round(figure, decimals):,g}" if decimals else f"{figure:,.0f}"


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
