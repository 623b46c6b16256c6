"""Cohorts of registries by month of creation: their purchases month by month. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pandas as pd

from wishcraft.analytics.frames import as_text, local_month, total

_KEY: Final = ["shop", "cohort", "age"]
_COUNTS: Final = ["registries", "active", "first"]


def count_cohorts(registries: pd.DataFrame, purchases: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Count the registries with purchases in the month of their creation, in the next month, and so on.

    Months are calendar months in the time zone of the registry's shop. A registry's cohort is the month in which it was
    created; its age in a month is how many months later that is, from 0 to the age in the last month that is over by
    `until`. A month that is not over does not count: it would look like a drop. A purchase from before its registry was
    created counts at age 0.

    Returns:
        Counts to `add`, indexed (shop, cohort as the first of its month in datetime64[s], age):
        registries: How many of the cohort have reached the age.
        active: How many have a live purchase in the month in which they have that age.
        first: How many have their first live purchase in that month.
    """
    created = _with_cohort(registries, until)
    bought = purchases[purchases["created_at"] <= until].merge(created, on="registry_id")
    month = local_month(bought["created_at"], bought["timezone"])
    bought = bought.assign(age=_months(bought["cohort"], month).clip(lower=0)).sort_values("age")
    bought = bought[bought["age"] < bought["months"]]
    counts = _count_reached(created).assign(
        active=bought.drop_duplicates(["registry_id", "age"]).groupby(_KEY).size(),
        first=bought.drop_duplicates("registry_id").groupby(_KEY).size(),
    )
    return counts.fillna(0).astype("int64")


def cohorts(counts: pd.DataFrame, by: Sequence[str] = ("shop",)) -> pd.DataFrame:
    """The share of each cohort with purchases at each age, and with a purchase up to that age.

    Args:
        counts: From `count_cohorts`. A shop has one time zone: its cohort's registries reach an age together.
        by: `shop`, or nothing for the cohorts of all shops.

    Returns:
        The columns of `by`; cohort, age, and registries, active and first as in the counts, summed; active_share:
        active / registries; bought_share: the registries with a live purchase up to this age / registries. Both are
        shares of the registries that have reached the age: where clocks are ahead, a month begins earlier.
    """
    summed = total(counts, _KEY, _COUNTS)
    summed["bought"] = summed.groupby(["shop", "cohort"])["first"].cumsum()
    keys = [*by, "cohort", "age"]
    figures = summed.groupby(keys)[[*_COUNTS, "bought"]].sum().reset_index()
    return figures.assign(
        active_share=figures["active"] / figures["registries"],
        bought_share=figures["bought"] / figures["registries"],
    ).drop(columns="bought")


def _with_cohort(registries: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Registries with their cohort, and the number of calendar months from creation that are over by `until`."""
    existing = registries[registries["created_at"] <= until]
    cohort = local_month(existing["created_at"], existing["timezone"])
    end = local_month(pd.Series(until, existing.index, dtype="datetime64[us, UTC]"), existing["timezone"])
    return as_text(
        existing[["registry_id", "shop", "timezone"]].assign(cohort=cohort, months=_months(cohort, end)), ["shop"]
    )


def _count_reached(created: pd.DataFrame) -> pd.DataFrame:
    """Count the registries that reached each age: each counts at every age up to its own."""
    same_age = created.groupby(["shop", "cohort", "months"]).size().rename("registries").reset_index()
    by_age = same_age.loc[same_age.index.repeat(same_age["months"])]
    return by_age.assign(age=by_age.groupby(level=0).cumcount()).groupby(_KEY)[["registries"]].sum()


def _months(earlier: pd.Series, later: pd.Series) -> pd.Series:
    """The number of months between two first days of months."""
    gap: pd.Series = 12 * (later.dt.year - earlier.dt.year) + later.dt.month - earlier.dt.month
    return gap
