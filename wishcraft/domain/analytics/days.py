"""How far before its event something happened, in days of the shop's calendar. Pure."""

import pandas as pd


def days_left(happened: pd.DataFrame) -> pd.Series:
    """How many days after the day of its `created_at` each row's `event_date` is: 0 on that day, negative after it.

    The day of a moment is the calendar's where the row's `timezone` is. No two rows may have the same index.
    """
    days = pd.Series(index=happened.index, dtype="datetime64[s]")
    for timezone, moments in happened.groupby("timezone", observed=True)["created_at"]:
        local = moments.dt.tz_convert(str(timezone)).dt.tz_localize(None)
        days[moments.index] = local.dt.normalize().dt.as_unit("s")
    left: pd.Series = (happened["event_date"] - days).dt.days
    return left
