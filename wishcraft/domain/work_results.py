"""What a job did, shop by shop, as values that a table and a sentence are made of. Pure.

A job that goes by something else than shops says what, as `noun`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MOST_NAMED: Final = 5
"""A sentence names so many at the most; the table has them all."""


@dataclass(frozen=True, slots=True)
class WorkResult:
    """One shop's share of a run; `problem` is empty when all went well, `advice` says what to do about it.

    `tries` tells how often its batch was tried. `stopped` is for a shop that was not done when the run was asked to
    end: what it did until then stands, and the next run does the rest.
    """

    shop: str
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    advice: str = ""
    tries: int = 1
    stopped: bool = False


def total(outcomes: Sequence[WorkResult]) -> dict[str, int]:
    """Each count summed over the shops, in the order in which the counts first appear."""
    totals: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def table(outcomes: Sequence[WorkResult], noun: str = "shop") -> list[dict[str, str | int | float]]:
    """A row for each shop, those with a problem first, then those that were stopped, then the slowest."""
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
    """What happened, for people: `3 shops: 200 registries, 12 warmed. Failed: a.myshopify.com (…).`

    What did not happen, such as a count of 0, is in the table alone.
    """
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in total(outcomes).items() if count)
    failed = named([f"{o.shop} ({o.problem})" for o in outcomes if o.problem])
    nothing = "nothing done" if any(o.problem or o.stopped for o in outcomes) else "nothing to do"
    return f"{_shops(outcomes, noun)}: {counts or nothing}." + (f" Failed: {failed}." if failed else "")


def named(names: Iterable[str]) -> str:
    """The first few of the names, and how many more there are; empty for none."""
    names = list(names)
    more = f"; and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return "; ".join(names[:MOST_NAMED]) + more


def _shops(outcomes: Sequence[WorkResult], noun: str) -> str:
    shops = f"{len(outcomes):,} {noun}{'' if len(outcomes) == 1 else 's'}"
    undone = sum(outcome.stopped for outcome in outcomes)
    return f"Stopped after {len(outcomes) - undone:,} of {shops}" if undone else shops
