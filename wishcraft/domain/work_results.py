"""Results of a job by shop, and the table and sentence made from them. Pure.

A job whose unit of work is not a shop passes its `noun`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MOST_NAMED: Final = 5
"""Most names in a sentence; the table has all."""


@dataclass(frozen=True, slots=True)
class WorkResult:
    """Result of one shop in a run; `problem` is empty on success, `advice` is the next step.

    `tries` is the number of attempts of its batch. `stopped` marks a shop that was not finished when the run was asked
    to stop; the next run does the rest.
    """

    shop: str
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    advice: str = ""
    tries: int = 1
    stopped: bool = False


def total(outcomes: Sequence[WorkResult]) -> dict[str, int]:
    """Each count summed over the shops, in order of first appearance."""
    totals: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def table(outcomes: Sequence[WorkResult], noun: str = "shop") -> list[dict[str, str | int | float]]:
    """A row for each shop: failed ones first, then stopped ones, then the slowest."""
    names = list(total(outcomes))
    return [
        {
            noun: outcome.shop,
            "problem": outcome.problem or ("stopped" if outcome.stopped else "none"),
            **{name.replace("_", " "): outcome.counts.get(name, 0) for name in names},
            "tries": outcome.tries,
            "seconds": round(outcome.seconds, 2),
        }
        for outcome in sorted(outcomes, key=lambda o: (not o.problem, not o.stopped, -o.seconds))
    ]


def sentence(outcomes: Sequence[WorkResult], noun: str = "shop") -> str:
    """The result as a sentence: `3 shops: 200 registries, 12 warmed. Failed: a.myshopify.com (…).`

    Counts of 0 are only in the table.
    """
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in total(outcomes).items() if count)
    failed = named([f"{o.shop} ({o.problem})" for o in outcomes if o.problem])
    nothing = "nothing done" if any(o.problem or o.stopped for o in outcomes) else "nothing to do"
    return f"{_shops(outcomes, noun)}: {counts or nothing}." + (f" Failed: {failed}." if failed else "")


def named(names: Iterable[str]) -> str:
    """The first `MOST_NAMED` names, and the number of further ones; empty without names."""
    names = list(names)
    more = f"; and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return "; ".join(names[:MOST_NAMED]) + more


def _shops(outcomes: Sequence[WorkResult], noun: str) -> str:
    shops = f"{len(outcomes):,} {noun}{'' if len(outcomes) == 1 else 's'}"
    undone = sum(outcome.stopped for outcome in outcomes)
    return f"Stopped after {len(outcomes) - undone:,} of {shops}" if undone else shops
