"""Result of each item of a job, as values for a sentence. Pure.

An item is a shop, unless the job names another noun, such as `table` or `step`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_ONE: Final = re.compile(r"(ies|sses|xes|(?<!s)s)$")
"""Plural ending of a noun."""
_EXPLAINED: Final[Mapping[str, str]] = {
    "suppressed": "their addresses get no mail",
    "postponed": "the next run tries them again",
    "given_up": "tried too often",
    "held": "they may have arrived, and are not sent again",
    "waiting": "a daily limit is reached",
}
"""Counts of mails, with what becomes of them."""
MAX_NAMES: Final = 5
"""Names in a sentence; the run's table has all of them."""


@dataclass(frozen=True, slots=True)
class WorkResult:
    """The result of one item of a run.

    Attributes:
        name: The item, such as a shop's domain.
        counts: What was done, such as `{"warmed": 12}`.
        seconds: Duration of all tries, without the time between them.
        problem: The error as one line; empty if there was none.
        advice: What a person can do about the problem.
        tries: How often the item was tried.
        stopped: The run was stopped before the item was finished; the next run does the rest.
        examples: Some of what was changed, by kind, such as the names of products that are out of stock.
    """

    name: str
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    advice: str = ""
    tries: int = 1
    stopped: bool = False
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)


def total_counts(results: Sequence[WorkResult]) -> dict[str, int]:
    """Each count summed over the items, in the order in which the counts first occur."""
    totals: dict[str, int] = {}
    for result in results:
        for name, count in result.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def summary_sentence(results: Sequence[WorkResult], noun: str = "shop") -> str:
    """The run in a sentence: `3 shops: 200 registries, 12 warmed. Failed: a.myshopify.com (…).`

    Counts of 0 are left out; the table has them.
    """
    counts = ", ".join(_counted(count, name) for name, count in total_counts(results).items() if count)
    failed = join_names([f"{r.name} ({r.problem})" for r in results if r.problem])
    nothing = "nothing done" if any(r.problem or r.stopped for r in results) else "nothing to do"
    return f"{_items(results, noun)}: {counts or nothing}." + (f" Failed: {failed}." if failed else "")


def _counted(count: int, name: str) -> str:
    """`2 registries touched`, `1 registry touched`."""
    if name == "paused":
        return f"{count:,} {'mail waits' if count == 1 else 'mails wait'}, as complaints pause a shop"
    first, *rest = name.split("_")
    words = " ".join([f"{count:,}", _ONE.sub(_singular, first) if count == 1 else first, *rest])
    return f"{words} ({_EXPLAINED[name]})" if name in _EXPLAINED else words


def _singular(plural: re.Match[str]) -> str:
    return {"ies": "y", "sses": "ss", "xes": "x"}.get(plural[0], "")


def join_names(names: Iterable[str]) -> str:
    """The first names, separated by semicolons, and how many more there are; empty if there are none."""
    names = list(names)
    more = f"; and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return "; ".join(names[:MAX_NAMES]) + more


def _items(results: Sequence[WorkResult], noun: str) -> str:
    items = f"{len(results):,} {noun}{'' if len(results) == 1 else 's'}"
    unfinished = sum(result.stopped for result in results)
    return f"Stopped after {len(results) - unfinished:,} of {items}" if unfinished else items
