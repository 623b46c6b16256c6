"""The summary and the table of a job's run: a sentence, then failures, retries and what needs attention. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from wishcraft.domain.work_results import MAX_NAMES, WorkResult, join_names, summary_sentence, total_counts
from wishcraft.reports.markdown import escape
from wishcraft.reports.markdown import table as markdown_table
from wishcraft.reports.page import Row, short_name
from wishcraft.services.checkpoint import MAX_EXAMPLES

MAX_ROWS: Final = 20
"""Rows of each table and list of the summary; the run's table artifact has every shop."""
_HEADINGS: Final = {
    "items_changed": "changed",
    "registries_touched": "registries",
    "seconds_of_waiting_for_Shopify": "waiting (s)",
}
"""Of columns that would else be so wide that the table of `sync-inventory` does not fit its box."""
_MAX_COUNTS: Final = 8
_SLOW_SECONDS: Final = 1
"""Items that took less are not worth naming."""


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
        _by_item(results, watched, noun),
        _watched(results, watched, noun),
    ]
    return "\n\n".join(part for part in parts if part)


def table_rows(results: Sequence[WorkResult], noun: str = "shop") -> list[Row]:
    """One row per item: failed items first, then stopped ones, then the slowest.

    Columns that say nothing are left out: counts that are 0 for all, problems and tries if there was none.
    """
    shown = [name for name, total in total_counts(results).items() if total]
    has_problems = any(result.problem or result.stopped for result in results)
    was_retried = any(result.tries > 1 for result in results)
    return [
        {
            noun: short_name(result.name),
            **({"problem": result.problem or ("stopped" if result.stopped else "none")} if has_problems else {}),
            **{_HEADINGS.get(name, name.replace("_", " ")): result.counts.get(name, 0) for name in shown},
            **({"tries": result.tries} if was_retried else {}),
            "seconds": round(result.seconds, 2),
        }
        for result in sorted(results, key=lambda r: (not r.problem, not r.stopped, -r.seconds))
    ]


def _failures(results: Sequence[WorkResult], noun: str) -> str:
    """A list, as it wraps on a phone: sentences in the cells of a table do not."""
    failed = [result for result in results if result.problem]
    lines = []
    for result in failed[:MAX_ROWS]:
        lines.append(f"- **{escape(result.name)}:** {' '.join(escape(result.problem).splitlines())}")
        lines += [f"  - What to do: {' '.join(escape(result.advice).splitlines())}"] if result.advice else []
    return "\n".join(["## Failed", "", *lines]) + _rest(len(failed), noun) if failed else ""


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


def _by_item(results: Sequence[WorkResult], watched: Sequence[str], noun: str) -> str:
    """The items with most of each count that is not watched, and the slowest ones; empty for a single item."""
    if len(results) == 1:
        return ""
    names = [name for name, total in total_counts(results).items() if total and name not in watched]
    lines = [
        f"- **{name.replace('_', ' ')}:** {_top({each.name: each.counts.get(name, 0) for each in results}, '{:,.0f}')}"
        for name in names[:_MAX_COUNTS]
    ]
    if slow := {each.name: each.seconds for each in results if each.seconds >= _SLOW_SECONDS}:
        lines.append(f"- **slowest:** {_top(slow, '{:,.0f} s')}")
    return "\n".join([f"## By {noun}", "", *lines]) if lines else ""


def _top(amounts: Mapping[str, float], form: str) -> str:
    """The items with the greatest amounts, and how many more there are: `maple-and-pine 1,204, lumiere-maison 33`."""
    found = sorted(((amount, name) for name, amount in amounts.items() if amount), key=lambda each: -each[0])
    shown = [f"{escape(short_name(name))} {form.format(amount)}" for amount, name in found[:MAX_NAMES]]
    more = f"; and {len(found) - MAX_NAMES:,} more" if len(found) > MAX_NAMES else ""
    return ", ".join(shown) + more


def _watched(results: Sequence[WorkResult], watched: Sequence[str], noun: str) -> str:
    names = [name for name in watched if total_counts(results).get(name)]
    total: Callable[[WorkResult], int] = lambda result: sum(result.counts.get(name, 0) for name in names)  # noqa: E731  a sort key
    rows = [
        (short_name(result.name), *(f"{result.counts.get(name, 0):,}" for name in names))
        for result in sorted(results, key=total, reverse=True)
        if total(result)
    ]
    if not rows:
        return ""
    table = markdown_table((noun, *(name.replace("_", " ") for name in names)), rows[:MAX_ROWS])
    return f"## Worth a look\n\n{table}{_rest(len(rows), noun)}"


def _rest(number: int, noun: str) -> str:
    return f"\n\nAnd {number - MAX_ROWS:,} more {noun}s, in the run's table." if number > MAX_ROWS else ""
