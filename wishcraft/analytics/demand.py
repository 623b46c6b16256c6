"""Demand forecast: purchases expected for coming events, compared with the stock. Pure."""

from datetime import date, timedelta
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from wishcraft.analytics.frames import as_text, days_left, total, with_sales
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.domain.registries import ItemStatus, RegistryStatus

LEAD_WEEKS: Final = 26
"""Weeks before an event for which purchase rates are computed: half a year."""
PRIOR_UNITS: Final = 50
"""Weight of the overall rate, in units: the rate of an event type with 50 open units has the same weight."""
_RANGE: Final = 0.8
_UNAVAILABLE: Final = (ItemStatus.DISCONTINUED, ItemStatus.HIDDEN)
_VARIANT: Final = ["shop", "product_id", "variant_id"]
_TITLES: Final = ["product_title", "variant_title"]
_WEEK: Final = ["event_type", "lead_week"]
_KEY: Final = [*_VARIANT, *_TITLES, *_WEEK]
_COLUMNS: Final = [
    *_VARIANT, *_TITLES, "registries", "open", "expected", "low", "high", "stock", "short", "short_if_all", "verdict",
]  # fmt: skip


def count_lead(
    registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame, today: date, history_days: int = 365
) -> pd.DataFrame:
    """Count the open units some weeks before past events, and how many of them were bought until the events were over.

    Items count of registries of every status with an event_date from `today` - `history_days` days to before `today`,
    except items that are now discontinued or hidden. The lead week of a moment is floor(d / 7), where d is the
    number of days from its day, in the calendar of the registry's shop, to the event_date: week 0 is the event's day
    and the six days before it. It begins at midnight with the day event_date - (7 lead_week + 6) days.

    Returns:
        Counts to `add`, indexed (event_type, lead_week from 0 to 25):
        open: For each item created before the lead week began: wanted minus the quantity of the live purchases before
        that moment, at least 0; summed.
        bought: For each of these items, the quantity of the live purchases from that moment to the end of the event's
        day, at most its open units; summed.
    """
    since = pd.Timestamp(today) - timedelta(days=history_days)
    past = registries[registries["event_date"].between(since, pd.Timestamp(today), inclusive="left")]
    available = _find_available(past, items)
    within = _sum_by_week(available, purchases).cumsum(axis=1)
    existed = _lead_week(available)[:, None] > np.arange(LEAD_WEEKS)
    before = within[:, -1:] - within[:, :-1]
    left = np.where(existed, np.clip(available["wanted"].to_numpy()[:, None] - before, 0, None), 0)
    bought = np.minimum(left, within[:, :-1])
    return pd.DataFrame({"open": _by_type(left, available), "bought": _by_type(bought, available)})


def count_open(
    registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame, today: date, weeks: int
) -> pd.DataFrame:
    """Count the open units for the events of the next `weeks` weeks, from `today` to before `today` + 7 `weeks` days.

    Items count of active registries that are neither discontinued nor hidden and have open units.

    Returns:
        Counts to `add`, indexed (shop, product_id, variant_id, product_title, variant_title, event_type, lead_week,
        which is floor(days from `today` to event_date / 7)):
        registries: How many have the item; a registry has at most one item of a variant.
        open: wanted minus the quantity of live purchases, at least 0; summed.

    Raises:
        ValueError: `weeks` is not from 1 to `LEAD_WEEKS`.
    """
    if not 1 <= weeks <= LEAD_WEEKS:
        raise ValueError(f"weeks must be from 1 to {LEAD_WEEKS}, not {weeks}")
    begin, end = pd.Timestamp(today), pd.Timestamp(today) + timedelta(weeks=weeks)
    is_coming = registries["event_date"].between(begin, end, inclusive="left")
    available = with_sales(
        _find_available(registries[is_coming & (registries["status"] == RegistryStatus.ACTIVE)], items), purchases
    )
    counts = available.assign(
        registries=1,
        open=available["wanted"] - available["bought"],
        lead_week=(available["event_date"] - begin).dt.days // 7,
    )
    return counts[counts["open"] > 0].groupby(_KEY)[["registries", "open"]].sum()


def variant_stock(registries: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The stock of each variant. Join the frames of several chunks with `pandas.concat`.

    Items count of active registries that are neither discontinued nor hidden.

    Returns:
        shop, variant_id; item_id: the variant's highest; stock: that of this item, missing if it cannot run out: if
        stock is not tracked or the policy is `continue`.
    """
    available = _find_available(registries[registries["status"] == RegistryStatus.ACTIVE], items)
    limited = available["tracked"].astype("bool") & (available["policy"] == InventoryPolicy.DENY)
    stock = available["stock"].astype("float64").where(limited)
    return _newest_item(available[["shop", "variant_id", "item_id"]].assign(stock=stock))


def demand_forecast(open_counts: pd.DataFrame, stock: pd.DataFrame, lead_counts: pd.DataFrame) -> pd.DataFrame:
    """Forecast the purchases of each variant until the events are over, and compare them with the stock.

    The rate of an event type in a lead week is (bought + 50 r) / (open + 50), where open and bought are those of
    `lead_counts` (0 if there are none) and r is the sum of bought / the sum of open of that week over all event types.
    It is measured at the beginning of the lead week, so it is somewhat too high late in a week. If no past event had
    open units in that lead week, there is no rate, and `expected` is missing.

    Args:
        open_counts: From `count_open`.
        stock: From `variant_stock`; for a variant in several chunks the row with the highest item_id counts.
        lead_counts: From `count_lead`.

    Returns:
        A row for each shop, product_id and variant_id, with product_title and variant_title (those of the most
        registries, the alphabetically first of equals):
        registries, open: As in the counts, summed.
        expected: The sum of open times rate; missing if one of the rates is.
        low, high: expected minus and plus 1.28 times sqrt(the sum of open times rate times (1 - rate)), at least 0 and
        at most open: the interval of 80 % of the cases, if the units are bought independently of each other. 0 and
        open if expected is missing.
        stock: Missing if it cannot run out or is unknown.
        short, short_if_all: expected - stock and open - stock, at least 0: the shortage, and the shortage if all open
        units are bought. A negative stock adds the units oversold.
        verdict: `not limited` if stock is missing; `out of stock` if it is under 1; `will run out` if it is under low;
        `may run out` if it is under high; else `enough`.
        Sorted by short and short_if_all, the greatest first and missing ones last; then by shop and ids.
    """
    rated = _with_rates(total(open_counts, _KEY, ["registries", "open"]), lead_counts)
    variants = _merge_titles(rated).merge(
        _newest_item(stock).drop(columns="item_id"), on=["shop", "variant_id"], how="left"
    )
    margin = NormalDist().inv_cdf((1 + _RANGE) / 2) * variants["variance"] ** 0.5
    forecast = variants.assign(
        low=(variants["expected"] - margin).clip(lower=0).fillna(0),
        high=(variants["expected"] + margin).clip(upper=variants["open"]).fillna(variants["open"]),
        short=(variants["expected"] - variants["stock"]).clip(lower=0),
        short_if_all=(variants["open"] - variants["stock"]).clip(lower=0),
    )
    order = ["short", "short_if_all", *_VARIANT]
    return forecast.assign(verdict=_verdicts(forecast)).sort_values(
        order, ascending=[name in _VARIANT for name in order], ignore_index=True
    )[_COLUMNS]


def _find_available(registries: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The registries' items that are neither discontinued nor hidden, with the registries' columns."""
    columns = registries[["registry_id", "shop", "event_type", "event_date", "timezone"]]
    available = items[~items["status"].isin(_UNAVAILABLE)].merge(columns, on="registry_id")
    return as_text(available, ["shop", "event_type", *_TITLES])


def _lead_week(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    return (days_left(rows) // 7).to_numpy("int64")


def _sum_by_week(available: pd.DataFrame, purchases: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The units bought of each item in each lead week; the last column has those of all earlier weeks."""
    events = available[["item_id", "event_date", "timezone"]].assign(row=np.arange(len(available)))
    bought = purchases.merge(events, on="item_id")
    weeks = _lead_week(bought)
    during = weeks >= 0
    cells = bought["row"].to_numpy("int64") * (LEAD_WEEKS + 1) + weeks.clip(max=LEAD_WEEKS)
    units = np.bincount(cells[during], bought["quantity"][during], len(available) * (LEAD_WEEKS + 1))
    return units.astype("int64").reshape(-1, LEAD_WEEKS + 1)


def _by_type(units: npt.NDArray[np.int64], available: pd.DataFrame) -> pd.Series:
    """Sum over the items of each event type: a row for each event type and lead week."""
    sums = pd.DataFrame(units).groupby(available["event_type"]).sum()
    return sums.melt(ignore_index=False, var_name="lead_week").set_index("lead_week", append=True)["value"].sort_index()


def _newest_item(stock: pd.DataFrame) -> pd.DataFrame:
    return stock.sort_values("item_id").drop_duplicates(["shop", "variant_id"], keep="last", ignore_index=True)


def _with_rates(open_counts: pd.DataFrame, lead_counts: pd.DataFrame) -> pd.DataFrame:
    """The open units with their expected purchases and the variance."""
    history = total(lead_counts, _WEEK, ["open", "bought"]).astype({"lead_week": "int64"})
    over_types = history.groupby("lead_week")[["open", "bought"]].sum()
    overall_rate = over_types["bought"] / over_types["open"]
    counts = open_counts.astype(dict.fromkeys(["product_id", "variant_id", "lead_week"], "int64"))
    own = counts.merge(history, on=_WEEK, how="left", suffixes=("", "_before")).fillna({"open_before": 0, "bought": 0})
    prior = PRIOR_UNITS * own["lead_week"].map(overall_rate)
    rate = (own["bought"] + prior) / (own["open_before"] + PRIOR_UNITS)
    return own.assign(expected=own["open"] * rate, variance=own["open"] * rate * (1 - rate))


def _merge_titles(rated: pd.DataFrame) -> pd.DataFrame:
    sums = ["registries", "open", "expected", "variance"]
    titled = rated.groupby([*_VARIANT, *_TITLES])[sums].sum(skipna=False).reset_index()
    ranked = titled.sort_values(["registries", *_TITLES], ascending=[False, True, True])
    groups = ranked.groupby(_VARIANT)
    return groups[_TITLES].first().join(groups[sums].sum(skipna=False)).reset_index()


def _verdicts(forecast: pd.DataFrame) -> pd.Series:
    stock = forecast["stock"]
    verdicts = np.select(
        [stock.isna(), stock < 1, stock < forecast["low"], stock < forecast["high"]],
        ["not limited", "out of stock", "will run out", "may run out"],
        "enough",
    )
    return pd.Series(verdicts, forecast.index, dtype="str")
