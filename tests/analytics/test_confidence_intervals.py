from statistics import NormalDist

import pandas as pd
import pytest

from wishcraft.analytics.confidence_intervals import Difference, mean_difference, share_difference


def shares(hits: int, size: int, other_hits: int, other_size: int, confidence: float = 0.95) -> list[float]:
    one, other = (pd.Series([hits]), pd.Series([size])), (pd.Series([other_hits]), pd.Series([other_size]))
    return numbers(share_difference(*one, *other, confidence))


def means(one: tuple[float, float, int], other: tuple[float, float, int]) -> list[float]:
    """Of groups with these means, variances and sizes."""
    (mean, variance, size), (mean_2, variance_2, size_2) = one, other
    group = pd.Series([mean]), pd.Series([variance]), pd.Series([size])
    return numbers(mean_difference(*group, pd.Series([mean_2]), pd.Series([variance_2]), pd.Series([size_2]), 0.95))


def numbers(result: Difference) -> list[float]:
    return [float(series.iloc[0]) for series in result]


@pytest.mark.parametrize(
    ("observed", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_share_intervals_match_newcombes_published_values(
    observed: tuple[int, int, int, int], low: float, high: float
) -> None:
    hits, size, other_hits, other_size = observed
    expected = [hits / size - other_hits / other_size, low, high]
    assert shares(*observed) == pytest.approx(expected, abs=5e-5)
    value, below, above = shares(other_hits, other_size, hits, size)
    assert [-value, -above, -below] == pytest.approx(expected, abs=5e-5)


def test_lower_confidence_level_narrows_the_interval() -> None:
    _, low, high = shares(56, 70, 48, 80, 0.8)
    assert 0.0524 < low < 0.2 < high < 0.3339


def test_share_interval_needs_two_in_each_group() -> None:
    assert shares(1, 1, 3, 30) == pytest.approx([0.9, float("nan"), float("nan")], nan_ok=True)
    assert shares(3, 30, 1, 1)[1:] == pytest.approx([float("nan")] * 2, nan_ok=True)
    assert shares(2, 2, 1, 2)[1] < 0.5
    assert shares(0, 0, 1, 2) == pytest.approx([float("nan")] * 3, nan_ok=True)


def test_standard_error_of_means_matches_a_published_example() -> None:
    # Miles per gallon of American and of Japanese cars: Dataplot's T TEST with unequal variances gives T = -12.94627.
    value, low, high = means((20.14458, 6.41470**2, 249), (30.48101, 6.10771**2, 79))
    assert value == (low + high) / 2 == pytest.approx(-10.33643)
    error = (high - low) / 2 / NormalDist().inv_cdf(0.975)
    assert value / error == pytest.approx(-12.94627, abs=5e-6)


def test_mean_interval_needs_30_in_each_group() -> None:
    margin = 1.959964 * (3 / 30 + 3 / 40) ** 0.5
    assert means((2, 3, 30), (1, 3, 40)) == pytest.approx([1, 1 - margin, 1 + margin])
    for size, other_size in ((29, 40), (40, 29)):
        assert means((2, 3, size), (1, 3, other_size)) == pytest.approx([1, float("nan"), float("nan")], nan_ok=True)


def test_groups_without_variance_have_an_interval_of_width_0() -> None:
    assert means((2, 0, 30), (1, 0, 30)) == [1, 1, 1]
