"""The Markdown summary of a job's run: a sentence, then failures, retries and counts that need attention. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from wishcraft.domain.work_results import MAX_NAMES, WorkResult, join_names, summary_sentence
from wishcraft.reports.markdown import escape
from wishcraft.reports.markdown import table as markdown_table
from wishcraft.reports.page import short_name
from wishcraft.services.checkpoint import MAX_EXAMPLES

MAX_ROWS: Final = 20
"""Rows of each table of the summary; the run's table artifact has every shop."""


def render_summary(
    results: Sequence[WorkResult], watched: Sequence[str] = (), noun: str = "shop", warning: str = ""
) -> str:
    """Render the summary. `watched` names the counts that need attention when they are not 0, such as `low_stock`."""
    parts = [
        f"**{escape(summary_sentence(results, noun))}**",
        warning,
        _failures(results, noun),
        _stopped(results),
        _retries(results),
        _changes(results),
        _watched(results, watched, noun),
    ]
    return "\n\n".join(part for part in parts if part)


def _failures(results: Sequence[WorkResult], noun: str) -> str:
    rows = [(result.name, result.problem, result.advice) for result in results if result.problem]
    return _section("Failed", (noun, "problem", "what to do"), rows)


def _stopped(results: Sequence[WorkResult]) -> str:
    rest = join_names(result.name for result in results if result.stopped)
    return f"## Not done\n\nThe run was asked to stop. Its next run does the rest: {rest}." if rest else ""


def _retries(results: Sequence[WorkResult]) -> str:
    retried = join_names(f"{result.name} ({result.tries} tries)" for result in results if result.tries > 1)
    return f"## Tried again\n\n{retried}." if retried else ""


def _changes(results: Sequence[WorkResult]) -> str:
    """Examples of what was changed: a line for each kind, of the first items."""
    kinds = dict.fromkeys(kind for result in results for kind in result.examples)
    lines = [f"- **{escape(kind)}:** {_examples(kind, results)}" for kind in kinds]
    return "\n".join(["## What changed", "", *lines]) if lines else ""


def _examples(kind: str, results: Sequence[WorkResult]) -> str:
    found = [(result.name, result.examples[kind]) for result in results if result.examples.get(kind)]
    shown = [
        f"{', '.join(map(escape, examples[:MAX_EXAMPLES]))}{' and more' if len(examples) > MAX_EXAMPLES else ''}"
        f" ({escape(short_name(name))})"
        for name, examples in found[:MAX_NAMES]
    ]
    more = f"; and in {len(found) - MAX_NAMES:,} more" if len(found) > MAX_NAMES else ""
    return "; ".join(shown) + more


def _watched(results: Sequence[WorkResult], names: Sequence[str], noun: str) -> str:
    total: Callable[[WorkResult], int] = lambda result: sum(result.counts.get(name, 0) for name in names)  # noqa: E731  a sort key
    rows = [
        (short_name(result.name), *(f"{result.counts.get(name, 0):,}" for name in names))
        for result in sorted(results, key=total, reverse=True)
        if total(result)
    ]
    return _section("Worth a look", (noun, *(name.replace("_", " ") for name in names)), rows)


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table of the first `MAX_ROWS` rows; empty without rows."""
    if not rows:
        return ""
    rest = f"\n\nAnd {len(rows) - MAX_ROWS:,} more {header[0]}s, in the run's table." if len(rows) > MAX_ROWS else ""
    return f"## {title}\n\n{markdown_table(header, rows[:MAX_ROWS])}{rest}"
