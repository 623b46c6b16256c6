"""What a job did, shop by shop, as values that a table and a sentence are made of. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ShopOutcome:
    """One shop's share of a run; `problem` is empty when all went well."""

    shop: str
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


def total(outcomes: Sequence[ShopOutcome]) -> dict[str, int]:
    """Each count summed over the shops, in the order in which the counts first appear."""
    totals: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def table(outcomes: Sequence[ShopOutcome]) -> list[dict[str, str | int | float]]:
    """A row for each shop, those with a problem first, then the slowest."""
    names = list(total(outcomes))
    return [
        {
            "shop": outcome.shop,
            "problem": outcome.problem or "none",
            **{name.replace("_", " "): outcome.counts.get(name, 0) for name in names},
            "seconds": round(outcome.seconds, 2),
        }
        for outcome in sorted(outcomes, key=lambda o: (not o.problem, -o.seconds))
    ]


def sentence(outcomes: Sequence[ShopOutcome]) -> str:
    """What happened, for people: `3 shops in turn: 200 registries, 12 warmed. Failed: a.myshopify.com (…).`"""
    shops = f"{len(outcomes)} shop{'' if len(outcomes) == 1 else 's'}"
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in total(outcomes).items())
    failed = "; ".join(f"{o.shop} ({o.problem})" for o in outcomes if o.problem)
    return f"{shops}: {counts or 'nothing to do'}." + (f" Failed: {failed}." if failed else "")
