"""How far before its event something happened, in days of the shop's calendar. Pure."""

import pandas as pd

from wishcraft.analytics.frames import local_times


def days_left(happened: pd.DataFrame) -> pd.Series:
    """How many days after the day of its `created_at` each row's `event_date` is: 0 on that day, negative after it.

    The day of a moment is the calendar's where the row's `timezone` is.
    """
    day = local_times(happened["created_at"], happened["timezone"]).astype("datetime64[D]").astype("datetime64[s]")
    left: pd.Series = (happened["event_date"] - pd.Series(day, happened.index)).dt.days
    return left
