"""A run's summary as Markdown: one sentence, then the few things that somebody may have to do something about. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from wishcraft.domain.work_results import WorkResult, join_names, summary_sentence
from wishcraft.reports.markdown import escaped
from wishcraft.reports.markdown import table as markdown_table

MOST_ROWS: Final = 20
"""What a person reads; the run's table has every shop."""


def summary(outcomes: Sequence[WorkResult], watched: Sequence[str] = (), noun: str = "shop", warning: str = "") -> str:
    """The run for people. `watched` are names of counts of which any is worth a look, such as `low_stock`."""
    parts = [
        f"**{escaped(summary_sentence(outcomes, noun))}**",
        warning,
        _failures(outcomes, noun),
        _stopped(outcomes),
        _retries(outcomes),
    ]
    return "\n\n".join(part for part in [*parts, _watched(outcomes, watched, noun)] if part)


def _failures(outcomes: Sequence[WorkResult], noun: str) -> str:
    rows = [(o.name, o.problem, o.advice) for o in outcomes if o.problem]
    return _section("Failed", (noun, "problem", "what to do"), rows)


def _stopped(outcomes: Sequence[WorkResult]) -> str:
    undone = join_names(o.name for o in outcomes if o.stopped)
    return f"## Not done\n\nThe run was asked to stop. Its next run does the rest: {undone}." if undone else ""


def _retries(outcomes: Sequence[WorkResult]) -> str:
    again = join_names(f"{o.name} ({o.tries} tries)" for o in outcomes if o.tries > 1)
    return f"## Tried again\n\n{again}." if again else ""


def _watched(outcomes: Sequence[WorkResult], names: Sequence[str], noun: str) -> str:
    sums: Callable[[WorkResult], int] = lambda o: sum(o.counts.get(name, 0) for name in names)  # noqa: E731  a sort key
    rows = [
        (o.name, *(f"{o.counts.get(name, 0):,}" for name in names))
        for o in sorted(outcomes, key=sums, reverse=True)
        if sums(o)
    ]
    return _section("Worth a look", (noun, *(name.replace("_", " ") for name in names)), rows)


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table of the first rows, or nothing if there are none."""
    if not rows:
        return ""
    more = f"\n\nAnd {len(rows) - MOST_ROWS:,} more {header[0]}s, in the run's table." if len(rows) > MOST_ROWS else ""
    return f"## {title}\n\n{markdown_table(header, rows[:MOST_ROWS])}{more}"
