"""How far visitors come: which share of visits leads to a click, to the cart, to a purchase. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pandas as pd

from wishcraft.analytics.frames import as_text, local_week, total

STEPS: Final = ("viewed", "clicked", "in_cart", "purchased")
_EVENTS: Final = ("registry_viewed", "item_clicked", "added_to_cart", "purchased")
"""The event of each step."""
_RATES: Final = ("click_rate", "cart_rate", "purchase_rate")
_CHANGES: Final = {
    rate: f"{before} → {step}" for rate, (before, step) in zip(_RATES, pairwise(STEPS), strict=True)
}  # fmt: skip
_KEY: Final = ["shop", "event_type", "week"]


def count_visits(events: pd.DataFrame, registries: pd.DataFrame) -> pd.DataFrame:
    """How many visits reached each step, by shop, event type and week.

    A visit is what one visitor did with one registry in one week. A week begins on Monday at midnight in the time zone
    of the registry's shop. A visit reached a step if it has the event of that step or of a later one: who bought from
    a link in a mail counts as having viewed and clicked. The steps' events are `registry_viewed`, `item_clicked`,
    `added_to_cart` and `purchased`.

    Returns:
        Counts to `add`, indexed (shop, event_type, week as datetime64[s]), with the columns `STEPS`: none is greater
        than the one before. Weeks without a visit have no row.
    """
    happened = events.merge(registries[["registry_id", "timezone"]], on="registry_id")
    steps = pd.DataFrame(
        {
            "registry_id": happened["registry_id"],
            "visitor": happened["visitor"],
            "week": local_week(happened["occurred_at"], happened["timezone"]),
            "reached": pd.Categorical(happened["type"], _EVENTS).codes,
        }
    )
    furthest = steps.groupby(["registry_id", "visitor", "week"], sort=False)["reached"].max().reset_index()
    facts = as_text(registries[["registry_id", "shop", "event_type"]], ["shop", "event_type"])
    visits = furthest.merge(facts, on="registry_id")
    reached = {step: visits["reached"] >= place for place, step in enumerate(STEPS)}
    return visits.assign(**reached).groupby(_KEY)[list(STEPS)].sum()


def funnel(counts: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """Which share of the visits that reached a step reached the next, and where most of them end.

    Args:
        counts: Of `count_visits`.
        by: Any of shop, event_type and week; a row for each combination that has visits, and one row for none of them.

    Returns:
        The columns of `by`; `STEPS`, in visits; and the shares, between 0 and 1, missing where they are of none:
        click_rate: clicked / viewed.
        cart_rate: in_cart / clicked.
        purchase_rate: purchased / in_cart.
        conversion: purchased / viewed.
        gives_up: The step that the smallest share took of those who had come so far, as `viewed → clicked`: the first
        of equals; missing if nobody came, or nobody was lost.
    """
    found = total(counts, by, STEPS)
    steps = zip(_RATES, pairwise(STEPS), strict=True)
    rates = pd.DataFrame({rate: found[step] / found[before] for rate, (before, step) in steps})
    lowest = rates.fillna(1).idxmin(axis="columns").map(_CHANGES)
    return found.assign(
        **rates,
        conversion=found["purchased"] / found["viewed"],
        gives_up=lowest.where(rates.min(axis="columns") < 1),
    )
