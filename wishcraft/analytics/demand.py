"""What guests are likely to buy for the events to come, beside what is in stock. Pure."""

from datetime import date, timedelta
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from wishcraft.analytics.days import days_left
from wishcraft.analytics.frames import as_text, total
from wishcraft.analytics.sales import with_sales
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.domain.registries import ItemStatus, RegistryStatus

LEAD_WEEKS: Final = 26
"""For events in so many weeks it is known what will be bought: half a year."""
PRIOR_UNITS: Final = 50
"""An event type's rate counts half beside that of all types when it is known from so many open units."""
_RANGE: Final = 0.8
_NOT_GIVEN: Final = (ItemStatus.DISCONTINUED, ItemStatus.HIDDEN)
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
    """How much of what was open so many weeks before past events was bought until they were over.

    Counted are items of registries of every status with an event_date from `today` - `history_days` days to before
    `today`; not items that are discontinued or hidden by now. The lead week of a moment is floor(d / 7), where d is the
    number of days from its day, in the calendar of the registry's shop, to the event_date: week 0 is the event's day
    and the six days before it. It begins at midnight with the day event_date - (7 lead_week + 6) days.

    Returns:
        Counts to `add`, indexed (event_type, lead_week from 0 to 25):
        open: Of each item created before the lead week began: wanted less the quantity of the live purchases before
        that moment, and not less than 0; summed.
        bought: Of each of these items the quantity of the live purchases from that moment until the event's day is
        over, and not more than is open; summed.
    """
    since = pd.Timestamp(today) - timedelta(days=history_days)
    past = registries[registries["event_date"].between(since, pd.Timestamp(today), inclusive="left")]
    wishes = _find_wishes(past, items)
    within = _sum_by_week(wishes, purchases).cumsum(axis=1)
    existed = _lead_week(wishes)[:, None] > np.arange(LEAD_WEEKS)
    before = within[:, -1:] - within[:, :-1]
    left = np.where(existed, np.clip(wishes["wanted"].to_numpy()[:, None] - before, 0, None), 0)
    bought = np.minimum(left, within[:, :-1])
    return pd.DataFrame({"open": _by_type(left, wishes), "bought": _by_type(bought, wishes)})


def count_open(
    registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame, today: date, weeks: int
) -> pd.DataFrame:
    """What can still be bought for the events of the next `weeks` weeks, from `today` to before `today` + 7 `weeks`.

    Counted are items of active registries that are neither discontinued nor hidden and of which some is open.

    Returns:
        Counts to `add`, indexed (shop, product_id, variant_id, product_title, variant_title, event_type, lead_week,
        which is floor(days from `today` to event_date / 7)):
        registries: How many have the item; a registry has at most one of a variant.
        open: wanted less the quantity of live purchases, and not less than 0; summed.

    Raises:
        ValueError: `weeks` is not from 1 to `LEAD_WEEKS`.
    """
    if not 1 <= weeks <= LEAD_WEEKS:
        raise ValueError(f"weeks must be from 1 to {LEAD_WEEKS}, not {weeks}")
    begin, end = pd.Timestamp(today), pd.Timestamp(today) + timedelta(weeks=weeks)
    coming = registries["event_date"].between(begin, end, inclusive="left")
    wishes = with_sales(
        _find_wishes(registries[coming & (registries["status"] == RegistryStatus.ACTIVE)], items), purchases
    )
    counts = wishes.assign(
        registries=1, open=wishes["wanted"] - wishes["bought"], lead_week=(wishes["event_date"] - begin).dt.days // 7
    )
    return counts[counts["open"] > 0].groupby(_KEY)[["registries", "open"]].sum()


def variant_stock(registries: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """How much of each variant is in stock. Chunks' frames are put together with `pandas.concat`.

    Counted are items of active registries that are neither discontinued nor hidden.

    Returns:
        shop, variant_id; item_id: the variant's highest; stock: that item's, missing if it cannot run out, which is so
        if stock is not tracked or the policy is `continue`.
    """
    wishes = _find_wishes(registries[registries["status"] == RegistryStatus.ACTIVE], items)
    limited = wishes["tracked"].astype("bool") & (wishes["policy"] == InventoryPolicy.DENY)
    stock = wishes["stock"].astype("float64").where(limited)
    return _newest(wishes[["shop", "variant_id", "item_id"]].assign(stock=stock))


def demand_forecast(open_counts: pd.DataFrame, stock: pd.DataFrame, lead_counts: pd.DataFrame) -> pd.DataFrame:
    """What is likely to be bought of each variant until the events are over, and whether there is enough of it.

    The rate of an event type in a lead week is (bought + 50 r) / (open + 50), where open and bought are those of
    `lead_counts` (0 if there are none) and r is the sum of bought / the sum of open of that week over all event types.
    It was observed at the beginning of the lead week, so late in a week it is rather too high. Where nothing was open
    in that week before any past event there is no rate, and `expected` is missing.

    Args:
        open_counts: Of `count_open`.
        stock: Of `variant_stock`; of a variant in several chunks the row with the highest item_id stands.
        lead_counts: Of `count_lead`.

    Returns:
        A row for each shop, product_id and variant_id, with product_title and variant_title (those of the most
        registries, the first in the alphabet of equals):
        registries, open: As in the counts, summed.
        expected: The sum of open times rate; missing if one of the rates is.
        low, high: expected less and plus 1.28 times sqrt(the sum of open times rate times (1 - rate)), but not less
        than 0 nor more than open: what 80 % of the cases lie between, if each unit is bought or not regardless of the
        others. 0 and open if expected is missing.
        stock: Missing if it cannot run out, or is not known.
        short, short_if_all: expected - stock and open - stock, but not less than 0: how much is missing, and how much
        if all that is open is bought. A negative stock adds what was sold without being there.
        verdict: `not limited` if stock is missing; `out of stock` if it is under 1; `will run out` if it is under low;
        `may run out` if it is under high; else `enough`.
        The greatest short comes first, then the greatest short_if_all, missing ones last; then by shop and ids.
    """
    rated = _with_rates(total(open_counts, _KEY, ["registries", "open"]), lead_counts)
    found = _merge_titles(rated).merge(_newest(stock).drop(columns="item_id"), on=["shop", "variant_id"], how="left")
    margin = NormalDist().inv_cdf((1 + _RANGE) / 2) * found["variance"] ** 0.5
    forecast = found.assign(
        low=(found["expected"] - margin).clip(lower=0).fillna(0),
        high=(found["expected"] + margin).clip(upper=found["open"]).fillna(found["open"]),
        short=(found["expected"] - found["stock"]).clip(lower=0),
        short_if_all=(found["open"] - found["stock"]).clip(lower=0),
    )
    order = ["short", "short_if_all", *_VARIANT]
    return forecast.assign(verdict=_judge(forecast)).sort_values(
        order, ascending=[name in _VARIANT for name in order], ignore_index=True
    )[_COLUMNS]


def _find_wishes(registries: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The registries' items that can be given."""
    facts = registries[["registry_id", "shop", "event_type", "event_date", "timezone"]]
    wishes = items[~items["status"].isin(_NOT_GIVEN)].merge(facts, on="registry_id")
    return as_text(wishes, ["shop", "event_type", *_TITLES])


def _lead_week(happened: pd.DataFrame) -> npt.NDArray[np.int64]:
    return (days_left(happened) // 7).to_numpy("int64")


def _sum_by_week(wishes: pd.DataFrame, purchases: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The units bought of each item in each lead week, in the last column those of all weeks before."""
    events = wishes[["item_id", "event_date", "timezone"]].assign(row=np.arange(len(wishes)))
    bought = purchases.merge(events, on="item_id")
    weeks = _lead_week(bought)
    during = weeks >= 0
    cells = bought["row"].to_numpy("int64") * (LEAD_WEEKS + 1) + weeks.clip(max=LEAD_WEEKS)
    units = np.bincount(cells[during], bought["quantity"][during], len(wishes) * (LEAD_WEEKS + 1))
    return units.astype("int64").reshape(-1, LEAD_WEEKS + 1)


def _by_type(units: npt.NDArray[np.int64], wishes: pd.DataFrame) -> pd.Series:
    """The sum over each event type's items, a row for each of its lead weeks."""
    sums = pd.DataFrame(units).groupby(wishes["event_type"]).sum()
    return sums.melt(ignore_index=False, var_name="lead_week").set_index("lead_week", append=True)["value"].sort_index()


def _newest(stock: pd.DataFrame) -> pd.DataFrame:
    return stock.sort_values("item_id").drop_duplicates(["shop", "variant_id"], keep="last", ignore_index=True)


def _with_rates(wished: pd.DataFrame, lead_counts: pd.DataFrame) -> pd.DataFrame:
    """What is wished for with what is expected of it and its variance."""
    known = total(lead_counts, _WEEK, ["open", "bought"]).astype({"lead_week": "int64"})
    every = known.groupby("lead_week")[["open", "bought"]].sum()
    usual = every["bought"] / every["open"]
    asked = wished.astype(dict.fromkeys(["product_id", "variant_id", "lead_week"], "int64"))
    own = asked.merge(known, on=_WEEK, how="left", suffixes=("", "_before")).fillna({"open_before": 0, "bought": 0})
    prior = PRIOR_UNITS * own["lead_week"].map(usual)
    rate = (own["bought"] + prior) / (own["open_before"] + PRIOR_UNITS)
    return own.assign(expected=own["open"] * rate, variance=own["open"] * rate * (1 - rate))


def _merge_titles(rated: pd.DataFrame) -> pd.DataFrame:
    sums = ["registries", "open", "expected", "variance"]
    titled = rated.groupby([*_VARIANT, *_TITLES])[sums].sum(skipna=False).reset_index()
    ranked = titled.sort_values(["registries", *_TITLES], ascending=[False, True, True])
    groups = ranked.groupby(_VARIANT)
    return groups[_TITLES].first().join(groups[sums].sum(skipna=False)).reset_index()


def _judge(forecast: pd.DataFrame) -> pd.Series:
    stock = forecast["stock"]
    verdicts = np.select(
        [stock.isna(), stock < 1, stock < forecast["low"], stock < forecast["high"]],
        ["not limited", "out of stock", "will run out", "may run out"],
        "enough",
    )
    return pd.Series(verdicts, forecast.index, dtype="str")
