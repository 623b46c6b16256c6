"""How registries live on: those created in one month, followed month by month. Pure."""

from datetime import datetime
from typing import Final

import pandas as pd

from wishcraft.analytics.frames import as_text, local_month, total

_KEY: Final = ["shop", "cohort", "age"]
_COUNTS: Final = ["registries", "active", "first"]


def count_cohorts(registries: pd.DataFrame, purchases: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """How many registries have purchases in the month in which they were created, in the next, and so on.

    Months are calendar months in the time zone of the registry's shop. A registry's cohort is the month in which it was
    created; its age in a month is how many months later that is, from 0 to the age in the month of `until`. A purchase
    from before its registry was created counts at age 0. What was created after `until` does not count.

    Returns:
        Counts to `add`, indexed (shop, cohort as the first of its month in datetime64[s], age):
        registries: How many of the cohort have reached the age.
        active: How many have a live purchase in the month in which they had that age.
        first: How many had their first live purchase in that month.
    """
    born = _born(registries, until)
    bought = purchases[purchases["created_at"] <= until].merge(born, on="registry_id")
    month = local_month(bought["created_at"], bought["timezone"])
    bought = bought.assign(age=_months(bought["cohort"], month).clip(lower=0)).sort_values("age")
    counts = _reached(born).assign(
        active=bought.drop_duplicates(["registry_id", "age"]).groupby(_KEY).size(),
        first=bought.drop_duplicates("registry_id").groupby(_KEY).size(),
    )
    return counts.fillna(0).astype("int64")


def cohorts(counts: pd.DataFrame) -> pd.DataFrame:
    """Which share of each cohort has purchases at each age, and which has had one by then.

    Args:
        counts: Of `count_cohorts`, of which a shop has one time zone: a cohort's registries reach an age together.

    Returns:
        shop, cohort, age, registries, active and first as in the counts; active_share: active / registries;
        bought_share: the sum of `first` up to this age / registries.
    """
    found = total(counts, _KEY, _COUNTS)
    return found.assign(
        active_share=found["active"] / found["registries"],
        bought_share=found.groupby(["shop", "cohort"])["first"].cumsum() / found["registries"],
    )


def _born(registries: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Registries with their cohort, and in how many months they have been there."""
    known = registries[registries["created_at"] <= until]
    cohort = local_month(known["created_at"], known["timezone"])
    end = local_month(pd.Series(until, known.index, dtype="datetime64[us, UTC]"), known["timezone"])
    return as_text(
        known[["registry_id", "shop", "timezone"]].assign(cohort=cohort, months=_months(cohort, end) + 1), ["shop"]
    )


def _reached(born: pd.DataFrame) -> pd.DataFrame:
    """How many registries reached each age: each counts at every age up to its own."""
    alike = born.groupby(["shop", "cohort", "months"]).size().rename("registries").reset_index()
    lived = alike.loc[alike.index.repeat(alike["months"])]
    return lived.assign(age=lived.groupby(level=0).cumcount()).groupby(_KEY)[["registries"]].sum()


def _months(earlier: pd.Series, later: pd.Series) -> pd.Series:
    """How many months lie between the first days of two months."""
    gap: pd.Series = 12 * (later.dt.year - earlier.dt.year) + later.dt.month - earlier.dt.month
    return gap
