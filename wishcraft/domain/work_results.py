"""The results of a job by shop, and their totals, table and summary sentence. Pure.

`noun` names what a job processes if that is not shops.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_NAMES: Final = 5
"""Names listed in a sentence; the table has all of them."""


@dataclass(frozen=True, slots=True)
class WorkResult:
    """One shop's result in a run; `problem` is empty after success, `advice` says what to do about a problem.

    `tries` is the number of attempts of its batch. A `stopped` shop was not finished when the run was asked to stop:
    the work done so far is kept, and the next run does the rest.
    """

    shop: str
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    advice: str = ""
    tries: int = 1
    stopped: bool = False


def total(results: Sequence[WorkResult]) -> dict[str, int]:
    """Sum each count over the shops, in the order in which the counts first appear."""
    totals: dict[str, int] = {}
    for result in results:
        for name, count in result.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def table(results: Sequence[WorkResult], noun: str = "shop") -> list[dict[str, str | int | float]]:
    """The rows of the table artifact: shops with a problem first, then stopped ones, then the slowest."""
    names = list(total(results))
    return [
        {
            noun: result.shop,
            "problem": result.problem or ("stopped" if result.stopped else "none"),
            **{name.replace("_", " "): result.counts.get(name, 0) for name in names},
            "tries": result.tries,
            "seconds": round(result.seconds, 2),
        }
        for result in sorted(results, key=lambda result: (not result.problem, not result.stopped, -result.seconds))
    ]


def sentence(results: Sequence[WorkResult], noun: str = "shop") -> str:
    """Summarize a run: `3 shops: 200 registries, 12 warmed. Failed: a.myshopify.com (…).` Counts of 0 are left out."""
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in total(results).items() if count)
    failed = join_names([f"{result.shop} ({result.problem})" for result in results if result.problem])
    nothing = "nothing done" if any(result.problem or result.stopped for result in results) else "nothing to do"
    return f"{_shops(results, noun)}: {counts or nothing}." + (f" Failed: {failed}." if failed else "")


def join_names(names: Iterable[str]) -> str:
    """Join the first `MAX_NAMES` names and the number of further ones; empty without names."""
    names = list(names)
    more = f"; and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return "; ".join(names[:MAX_NAMES]) + more


def _shops(results: Sequence[WorkResult], noun: str) -> str:
    shops = f"{len(results):,} {noun}{'' if len(results) == 1 else 's'}"
    unfinished = sum(result.stopped for result in results)
    return f"Stopped after {len(results) - unfinished:,} of {shops}" if unfinished else shops
