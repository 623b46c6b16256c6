"""Confidence intervals of the differences between two groups' shares or means. Pure."""

from statistics import NormalDist
from typing import Final, NamedTuple

import pandas as pd

MIN_SIZE_FOR_MEANS: Final = 30
"""Sample size from which the mean of a group is nearly normal for any distribution of its values."""
_MIN_SIZE_FOR_SHARES: Final = 2


class Difference(NamedTuple):
    """The first group minus the second, for each row of a frame, with its confidence interval."""

    value: pd.Series
    low: pd.Series
    high: pd.Series


def share_difference(
    hits: pd.Series, size: pd.Series, other_hits: pd.Series, other_size: pd.Series, confidence: float
) -> Difference:
    """The difference of two shares, hits / size - other_hits / other_size, row by row.

    The interval is Newcombe's hybrid score interval without continuity correction: method 10 in R. G. Newcombe,
    "Interval estimation for the difference between independent proportions", Statistics in Medicine 17 (1998).
    With p1 and p2 the shares, and l1 to u1 and l2 to u2 their Wilson score intervals of the same confidence, it is from
    p1 - p2 - sqrt((p1 - l1)² + (u2 - p2)²) to p1 - p2 + sqrt((u1 - p1)² + (p2 - l2)²). A share of an empty
    group is missing; the bounds are missing unless both groups have two or more.
    """
    share, other = hits / size, other_hits / other_size
    low, high = share_interval(hits, size, confidence)
    other_low, other_high = share_interval(other_hits, other_size, confidence)
    value = share - other
    below = ((share - low) ** 2 + (other_high - other) ** 2) ** 0.5
    above = ((high - share) ** 2 + (other - other_low) ** 2) ** 0.5
    enough = (size >= _MIN_SIZE_FOR_SHARES) & (other_size >= _MIN_SIZE_FOR_SHARES)
    return Difference(value, (value - below).where(enough), (value + above).where(enough))


def mean_difference(
    mean: pd.Series,
    variance: pd.Series,
    size: pd.Series,
    other_mean: pd.Series,
    other_variance: pd.Series,
    other_size: pd.Series,
    confidence: float,
) -> Difference:
    """The difference of two means, mean - other_mean, row by row.

    The interval is the difference plus and minus the normal distribution's quantile times Welch's standard error,
    sqrt(variance / size + other_variance / other_size), which does not assume equal variances. They are sample
    variances, with the denominator size - 1. The bounds are missing unless both groups have `MIN_SIZE_FOR_MEANS` or
    more.
    """
    value = mean - other_mean
    margin = _quantile(confidence) * (variance / size + other_variance / other_size) ** 0.5
    enough = (size >= MIN_SIZE_FOR_MEANS) & (other_size >= MIN_SIZE_FOR_MEANS)
    return Difference(value, (value - margin).where(enough), (value + margin).where(enough))


def share_interval(hits: pd.Series, size: pd.Series, confidence: float) -> tuple[pd.Series, pd.Series]:
    """The bounds of a share, hits / size, row by row: the Wilson score interval."""
    z = _quantile(confidence)
    middle = hits + z**2 / 2
    spread = z * (hits * (size - hits) / size + z**2 / 4) ** 0.5
    return (middle - spread) / (size + z**2), (middle + spread) / (size + z**2)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
