"""Fulfilment of registries: when, by how many guests, and for how much. Pure."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from wishcraft.analytics.frames import as_text, flat, grouped, with_sales
from wishcraft.domain.currencies import SCALE

_TEXTS: Final = ["shop", "currency", "event_type", "status"]
_COUNTS: Final = ["items", "wanted", "bought", "surplus", "guests", "gifts"]
_COLUMNS: Final = [
    "registry_id", *_TEXTS, "created_at", "event_date", "items", "wanted", "bought", "surplus", "completed",
    "completed_at", "days_to_complete", "guests", "gifts", "value_e4",
]  # fmt: skip
_DAY_SECONDS: Final = 86_400


def fulfil(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """The fulfilment of each registry: a row for each, in their order, including those without items.

    Join the frames of several chunks with `pandas.concat`.

    Returns:
        registry_id, shop, currency, event_type, status, created_at, event_date: As in `registries`.
        items: The number of its items, without those that were removed after a purchase (`hidden`).
        wanted: The sum of their wanted quantities.
        bought: The sum over these items of the lesser of wanted and the quantity of live purchases.
        surplus: The sum over these items of the quantity bought beyond wanted.
        completed: Whether it has items, each of them bought in full.
        completed_at: The time at which its last item was bought in full, NaT unless completed: the `created_at` of the
        purchase with which the cumulative quantity of the item's live purchases reaches wanted.
        days_to_complete: From the registry's created_at to completed_at, in days with a fraction, NaN unless completed.
        guests, gifts: The numbers of distinct guests and gifts of its live purchases, also of removed items.
        value_e4: The sum of quantity times unit_e4 of these purchases.
    """
    sums = _sum_items(items, purchases)
    counts = purchases.groupby("registry_id").agg(guests=("guest", "nunique"), gifts=("gift", "nunique"))
    fulfilled = as_text(registries, _TEXTS).join(sums, on="registry_id").join(counts, on="registry_id")
    fulfilled[_COUNTS] = fulfilled[_COUNTS].fillna(0).astype("int64")
    fulfilled["value_e4"] = fulfilled["value_e4"].fillna(0)
    completed = (fulfilled["items"] > 0) & (fulfilled["bought"] == fulfilled["wanted"])
    fulfilled = fulfilled.assign(completed=completed, completed_at=fulfilled["completed_at"].where(completed))
    fulfilled["days_to_complete"] = (
        fulfilled["completed_at"] - fulfilled["created_at"]
    ).dt.total_seconds() / _DAY_SECONDS
    return fulfilled[_COLUMNS]


def completion(fulfilled: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """Completed registries, the share of the wanted quantities that was bought, and the time it took.

    Args:
        fulfilled: From `fulfil`.
        by: Columns to group by; one row without any.

    Returns:
        The columns of `by`; and of each group:
        registries, completed: The number of registries, and of those completed.
        completed_share: completed / registries.
        wanted, bought: Their sums.
        fulfilment: bought / wanted; missing if nothing is wanted.
        days_p25, days_median, days_p75: Quantiles of days_to_complete of the completed registries, interpolated
        linearly; missing if none is completed.
    """
    groups = grouped(fulfilled, by)
    sums = groups.agg(
        registries=("registry_id", "size"),
        completed=("completed", "sum"),
        wanted=("wanted", "sum"),
        bought=("bought", "sum"),
    )
    days = groups["days_to_complete"]
    figures = pd.DataFrame(
        {
            "registries": sums["registries"],
            "completed": sums["completed"],
            "completed_share": sums["completed"] / sums["registries"],
            "wanted": sums["wanted"],
            "bought": sums["bought"],
            "fulfilment": sums["bought"] / sums["wanted"],
            "days_p25": days.quantile(0.25),
            "days_median": days.median(),
            "days_p75": days.quantile(0.75),
        }
    )
    return flat(figures, by)


def guests(fulfilled: pd.DataFrame, by: Sequence[str] = ("event_type",)) -> pd.DataFrame:
    """The number of guests who buy for a registry.

    Args:
        fulfilled: From `fulfil`.
        by: Columns to group by; one row without any.

    Returns:
        The columns of `by`; registries; guests_mean, guests_median and guests_max of the guests per registry, including
        registries without guests; without_guests: the share of the registries without a guest.
    """
    groups = grouped(fulfilled.assign(alone=fulfilled["guests"] == 0), by)
    figures = groups.agg(
        registries=("registry_id", "size"),
        guests_mean=("guests", "mean"),
        guests_median=("guests", "median"),
        guests_max=("guests", "max"),
        without_guests=("alone", "mean"),
    )
    return flat(figures, by)


def gift_value(fulfilled: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """The value of gifts, always grouped by currency too.

    Args:
        fulfilled: From `fulfil`.
        by: Columns to group by before the currency.

    Returns:
        The columns of `by` and currency; registries, gifts and guests (a guest of two registries counts twice);
        value: the amount paid for live purchases, in the currency's own unit; per_registry, per_gift and per_guest:
        value / registries (including those without gifts), / gifts, / guests; missing if the divisor is 0.
    """
    keys = list(dict.fromkeys([*by, "currency"]))
    sums = grouped(fulfilled, keys).agg(
        registries=("registry_id", "size"),
        gifts=("gifts", "sum"),
        guests=("guests", "sum"),
        value=("value_e4", "sum"),
    )
    value = sums["value"] / SCALE
    figures = sums.assign(
        value=value,
        per_registry=value / sums["registries"],
        per_gift=value / sums["gifts"],
        per_guest=value / sums["guests"],
    )
    return flat(figures, keys)


def _sum_items(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    sold = with_sales(items, purchases)
    surplus = (sold["sold"] - sold["bought"]).where(sold["is_listed"], 0)
    completions = _completions(sold[sold["is_listed"]], purchases)
    with_completion = sold.assign(surplus=surplus).join(completions, on="item_id")
    return with_completion.groupby("registry_id").agg(
        items=("is_listed", "sum"),
        wanted=("wanted", "sum"),
        bought=("bought", "sum"),
        surplus=("surplus", "sum"),
        value_e4=("value_e4", "sum"),
        completed_at=("completed_at", "max"),
    )


def _completions(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.Series:
    """The time at which each item was bought in full, by id; the order of simultaneous purchases does not matter."""
    bought = purchases.sort_values("created_at").merge(items[["item_id", "wanted"]], on="item_id")
    so_far = bought.groupby("item_id")["quantity"].cumsum()
    return bought[so_far >= bought["wanted"]].groupby("item_id")["created_at"].min().rename("completed_at")
