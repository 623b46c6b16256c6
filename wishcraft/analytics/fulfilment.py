"""How far registries' wishes are fulfilled: by when, by how many guests, and for how much. Pure."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from wishcraft.analytics.frames import as_text, flat, grouped
from wishcraft.analytics.sales import with_sales

_TEXTS: Final = ["shop", "currency", "event_type", "status"]
_COUNTS: Final = ["items", "wanted", "bought", "surplus", "guests", "gifts", "value_cents"]
_COLUMNS: Final = [
    "registry_id", *_TEXTS, "created_at", "event_date", "items", "wanted", "bought", "surplus", "completed",
    "completed_at", "days_to_complete", "guests", "gifts", "value_cents",
]  # fmt: skip
_DAY_SECONDS: Final = 86_400


def fulfil(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """What became of each registry: a row for each, in their order, also for those without items.

    Chunks' frames are put together with `pandas.concat`.

    Returns:
        registry_id, shop, currency, event_type, status, created_at, event_date: As in `registries`.
        items: How many it has.
        wanted: The sum of their wanted quantities.
        bought: The sum over the items of the lesser of wanted and the quantity of live purchases.
        surplus: The sum over the items of what was bought beyond what is wanted.
        completed: Whether it has items, and each was bought in full.
        completed_at: When its last item became bought in full, NaT unless completed. An item becomes so with the
        purchase at whose `created_at` the quantity of its live purchases so far reaches what is wanted.
        days_to_complete: From the registry's created_at to completed_at, in days with a fraction, NaN unless completed.
        guests, gifts: How many different ones its live purchases have.
        value_cents: The sum of quantity times unit_cents of its live purchases.
    """
    wishes = _sum_wishes(items, purchases)
    given = purchases.groupby("registry_id").agg(guests=("guest", "nunique"), gifts=("gift", "nunique"))
    found = as_text(registries, _TEXTS).join(wishes, on="registry_id").join(given, on="registry_id")
    found[_COUNTS] = found[_COUNTS].fillna(0).astype("int64")
    completed = (found["items"] > 0) & (found["bought"] == found["wanted"])
    found = found.assign(completed=completed, completed_at=found["completed_at"].where(completed))
    found["days_to_complete"] = (found["completed_at"] - found["created_at"]).dt.total_seconds() / _DAY_SECONDS
    return found[_COLUMNS]


def completion(fulfilled: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """How many registries are completed, how much of what they want is bought, and how long it took.

    Args:
        fulfilled: Of `fulfil`.
        by: Its columns to group by; one row for none of them.

    Returns:
        The columns of `by`; and of each group:
        registries, completed: How many there are, and how many of them are completed.
        completed_share: completed / registries.
        wanted, bought: Their sums.
        fulfilment: bought / wanted; missing if nothing is wanted.
        days_p25, days_median, days_p75: Quantiles of the completed ones' days_to_complete, interpolated linearly;
        missing if none is completed.
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
    """How many guests buy for a registry.

    Args:
        fulfilled: Of `fulfil`.
        by: Its columns to group by; one row for none of them.

    Returns:
        The columns of `by`; registries; guests_mean, guests_median and guests_max, of each registry's guests, also of
        those without; without_guests: the share of the registries for which nobody bought.
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
    """What gifts are worth, always by currency too.

    Args:
        fulfilled: Of `fulfil`.
        by: Its columns to group by before the currency.

    Returns:
        The columns of `by` and currency; registries, gifts and guests (a guest of two registries counts twice);
        value: what was paid for live purchases, in the currency's own unit; per_registry, per_gift and per_guest:
        value / registries (also those without gifts), / gifts, / guests; missing if there are none.
    """
    keys = list(dict.fromkeys([*by, "currency"]))
    sums = grouped(fulfilled, keys).agg(
        registries=("registry_id", "size"),
        gifts=("gifts", "sum"),
        guests=("guests", "sum"),
        value=("value_cents", "sum"),
    )
    value = sums["value"] / 100
    figures = sums.assign(
        value=value,
        per_registry=value / sums["registries"],
        per_gift=value / sums["gifts"],
        per_guest=value / sums["guests"],
    )
    return flat(figures, keys)


def _sum_wishes(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    sold = with_sales(items, purchases)
    wishes = sold.assign(surplus=sold["sold"] - sold["bought"]).join(_completions(items, purchases), on="item_id")
    return wishes.groupby("registry_id").agg(
        items=("item_id", "size"),
        wanted=("wanted", "sum"),
        bought=("bought", "sum"),
        surplus=("surplus", "sum"),
        value_cents=("value_cents", "sum"),
        completed_at=("completed_at", "max"),
    )


def _completions(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.Series:
    """When items became bought in full, by their ids. The order of purchases of one moment does not matter."""
    bought = purchases.sort_values("created_at").merge(items[["item_id", "wanted"]], on="item_id")
    so_far = bought.groupby("item_id")["quantity"].cumsum()
    return bought[so_far >= bought["wanted"]].groupby("item_id")["created_at"].min().rename("completed_at")
