"""The difference in gifts between registries that were reminded and those that were not. Pure."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import pandas as pd

from wishcraft.analytics.confidence_intervals import mean_difference, share_difference
from wishcraft.analytics.frames import as_text, days_left, total
from wishcraft.domain.registries import RegistryStatus
from wishcraft.domain.reminders import DAYS_LEFT, ReminderKind

_LEAD_DAYS: Final = DAYS_LEFT[ReminderKind.WEEK][-1]
"""Days before the event on which a registry is reminded: 7."""
_GROUPS: Final = ("reminded", "not_reminded")
_MEASURES: Final = ("registries", "gifted", "units", "units_squared")
_COUNTS: Final = [f"{group}_{measure}" for group in _GROUPS for measure in _MEASURES]


def count_after_reminder(
    registries: pd.DataFrame, reminders: pd.DataFrame, purchases: pd.DataFrame, *, until: date, days: int
) -> pd.DataFrame:
    """Count the purchases of registries in the `days` days from the day of the reminder a week before the event.

    The reminder's day is event_date - 7 days, the window the days from it to before event_date - 7 days + `days`. Days
    are those of the calendar in the time zone of the registry's shop. Registries count that have an event_date, are not
    archived, were created on a day before the reminder's, and whose window is over: each of its days is before `until`.
    A registry was reminded if a reminder of kind `7_days` and of its current event_date is `sent`, to at least one
    recipient and on any day.

    Returns:
        Counts to `add`, indexed (shop, event_type), of the registries that were reminded (`reminded_…`) and of those
        that were not (`not_reminded_…`):
        …registries: The number of registries.
        …gifted: How many have a live purchase in their window.
        …units: The quantity of the live purchases in their windows.
        …units_squared: The sum over the registries of the square of that quantity.
    """
    eligible = _find_eligible(registries, until, days)
    units = eligible["registry_id"].map(_sum_units(eligible, purchases, days)).fillna(0).astype("int64")
    measures = pd.DataFrame({"registries": 1, "gifted": units > 0, "units": units, "units_squared": units**2})
    reminded = _was_reminded(eligible, reminders)
    columns = {
        f"{group}_{name}": measures[name].where(is_member, 0).astype("int64")
        for group, is_member in zip(_GROUPS, (reminded, ~reminded), strict=True)
        for name in _MEASURES
    }
    keyed = as_text(eligible[["shop", "event_type"]], ["shop", "event_type"]).assign(**columns)
    return keyed.groupby(["shop", "event_type"])[_COUNTS].sum()


def reminder_effect(counts: pd.DataFrame, by: Sequence[str] = (), confidence: float = 0.95) -> pd.DataFrame:
    """Compare the purchases of reminded registries with those of registries that were not reminded.

    This is not an experiment: reminders are not assigned at random. Registries are not reminded because their
    registrants unsubscribed or have no address, because the mail failed, or because their shop sends none, and such
    registries may receive more or fewer gifts for other reasons. A difference need not be an effect of the mail.

    Args:
        counts: From `count_after_reminder`.
        by: Any of shop and event_type; a row for each combination, one row without any.
        confidence: The confidence level of the intervals, between 0 and 1.

    Returns:
        The columns of `by`; and
        reminded, not_reminded: The number of registries in each group.
        units_reminded, units_not_reminded: Units per registry: units / registries.
        units_difference, units_low, units_high: The first minus the second, and its interval by `mean_difference`,
        which is missing if one of the groups has fewer than 30 registries.
        share_reminded, share_not_reminded: gifted / registries.
        share_difference, share_low, share_high: The first minus the second, and its interval by `share_difference`,
        which is missing if one of the groups has fewer than 2 registries.
        finding: By units: `more` if units_low is over 0, `less` if units_high is under 0, `too few to tell` if
        they are missing, else `no difference to be seen`.
        Figures of a group without registries are missing.
    """
    summed = total(counts, by, _COUNTS)
    one, other = (summed[[f"{group}_{name}" for name in _MEASURES]].set_axis(_MEASURES, axis=1) for group in _GROUPS)
    size, other_size = one["registries"], other["registries"]
    mean, other_mean = one["units"] / size, other["units"] / other_size
    units = mean_difference(mean, _variance(one), size, other_mean, _variance(other), other_size, confidence)
    shares = share_difference(one["gifted"], size, other["gifted"], other_size, confidence)
    return summed[list(by)].assign(
        reminded=size,
        not_reminded=other_size,
        units_reminded=mean,
        units_not_reminded=other_mean,
        units_difference=units.value,
        units_low=units.low,
        units_high=units.high,
        share_reminded=one["gifted"] / size,
        share_not_reminded=other["gifted"] / other_size,
        share_difference=shares.value,
        share_low=shares.low,
        share_high=shares.high,
        finding=_judge(units.low, units.high),
    )


def _find_eligible(registries: pd.DataFrame, until: date, days: int) -> pd.DataFrame:
    """The registries that count: see `count_after_reminder`."""
    last_event = pd.Timestamp(until) + timedelta(days=_LEAD_DAYS - days)
    over = registries[(registries["event_date"] <= last_event) & (registries["status"] != RegistryStatus.ARCHIVED)]
    return over[days_left(over) > _LEAD_DAYS]


def _was_reminded(eligible: pd.DataFrame, reminders: pd.DataFrame) -> pd.Series:
    sent = reminders[(reminders["kind"] == ReminderKind.WEEK) & (reminders["state"] == "sent")]
    current = sent[["registry_id", "event_date"]].merge(eligible[["registry_id", "event_date"]])
    return eligible["registry_id"].isin(current["registry_id"])


def _sum_units(eligible: pd.DataFrame, purchases: pd.DataFrame, days: int) -> pd.Series:
    """The units bought in each registry's window, by registry id."""
    bought = purchases.merge(eligible[["registry_id", "event_date", "timezone"]], on="registry_id")
    in_window = days_left(bought).between(_LEAD_DAYS - days, _LEAD_DAYS, inclusive="right")
    return bought[in_window].groupby("registry_id")["quantity"].sum()


def _variance(group: pd.DataFrame) -> pd.Series:
    """The sample variance, in integers up to the division, so that no precision is lost."""
    size = group["registries"]
    variance: pd.Series = (size * group["units_squared"] - group["units"] ** 2) / (size * (size - 1))
    return variance


def _judge(low: pd.Series, high: pd.Series) -> pd.Series:
    words = np.select([low.isna(), low > 0, high < 0], ["too few to tell", "more", "less"], "no difference to be seen")
    return pd.Series(words, low.index, dtype="str")
