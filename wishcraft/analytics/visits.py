"""The conversion funnel: the share of visits that lead to a click, to the cart, to a purchase. Pure."""

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
    """Count the visits that reached each step, by shop, event type and week.

    A visit is what one visitor did with one registry in one week. A week begins on Monday at midnight in the time zone
    of the registry's shop. A visit reached a step if it has the event of that step or of a later one: a purchase
    from a link in a mail counts as viewed and clicked too. The steps' events are `registry_viewed`, `item_clicked`,
    `added_to_cart` and `purchased`.

    Returns:
        Counts to `add`, indexed (shop, event_type, week as datetime64[s]), with the columns `STEPS`, none
        greater than the one before. Weeks without a visit have no row.
    """
    with_timezone = events.merge(registries[["registry_id", "timezone"]], on="registry_id")
    steps = pd.DataFrame(
        {
            "registry_id": with_timezone["registry_id"],
            "visitor": with_timezone["visitor"],
            "week": local_week(with_timezone["occurred_at"], with_timezone["timezone"]),
            "reached": pd.Categorical(with_timezone["type"], _EVENTS).codes,
        }
    )
    furthest = steps.groupby(["registry_id", "visitor", "week"], sort=False)["reached"].max().reset_index()
    shops = as_text(registries[["registry_id", "shop", "event_type"]], ["shop", "event_type"])
    visits = furthest.merge(shops, on="registry_id")
    reached = {step: visits["reached"] >= place for place, step in enumerate(STEPS)}
    return visits.assign(**reached).groupby(_KEY)[list(STEPS)].sum()


def funnel(counts: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """The share of the visits at each step that reached the next, and the weakest step.

    Args:
        counts: From `count_visits`.
        by: Any of shop, event_type and week; a row for each combination that has visits, one row without any.

    Returns:
        The columns of `by`; `STEPS`, in visits; and the shares, between 0 and 1, missing if the divisor is 0:
        click_rate: clicked / viewed.
        cart_rate: in_cart / clicked.
        purchase_rate: purchased / in_cart.
        conversion: purchased / viewed.
        gives_up: The step with the smallest of these shares, as `viewed → clicked`: the first of equals; missing
        without visits, or if every visit ended in a purchase.
    """
    summed = total(counts, by, STEPS)
    steps = zip(_RATES, pairwise(STEPS), strict=True)
    rates = pd.DataFrame({rate: summed[step] / summed[before] for rate, (before, step) in steps})
    lowest = rates.fillna(1).idxmin(axis="columns").map(_CHANGES)
    return summed.assign(
        **rates,
        conversion=summed["purchased"] / summed["viewed"],
        gives_up=lowest.where(rates.min(axis="columns") < 1),
    )
