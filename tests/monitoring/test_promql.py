"""The PromQL evaluator against values calculated by hand."""

import math

import pytest

from tests.support.metric_samples import Samples
from tests.support.promql import evaluate

T = 10_000.0
PAGE = """\
requests_total{route="a",status="200"} 90
requests_total{route="a",status="500"} 10
requests_total{route="b",status="200"} 300
limit{route="a"} 50
"""


def labelled(expression: str, samples: Samples, at: float = T) -> dict[str, float]:
    """Evaluate to a vector, with labels as `name=value` and without those that scraping adds."""
    found = evaluate(expression, samples, at)
    assert isinstance(found, dict)
    return {
        ",".join(
            sorted(f"{name}={value}" for name, value in labels if name not in {"__name__", "job", "instance"})
        ): value
        for labels, value in found.items()
    }


@pytest.fixture
def samples() -> Samples:
    found = Samples()
    found.scrape(PAGE, T)
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('requests_total{status=~"2.."}', {"route=a,status=200": 90, "route=b,status=200": 300}),
        ('requests_total{status!="200"}', {"route=a,status=500": 10}),
        ('requests_total{route!~"b|c",status="200"}', {"route=a,status=200": 90}),
        ("requests_total > 50", {"route=a,status=200": 90, "route=b,status=200": 300}),
        ("100 > requests_total", {"route=a,status=200": 90, "route=a,status=500": 10}),
        ("sum(requests_total)", {"": 400}),
        ("max by (route) (requests_total)", {"route=a": 90, "route=b": 300}),
        ("min without (route) (requests_total)", {"status=200": 90, "status=500": 10}),
        ("avg(requests_total) / 4 + 1 - 2 * 3", {"": 400 / 3 / 4 + 1 - 6}),
        ("sum by (route) (requests_total) / on (route) limit", {"route=a": 2}),
        ("sum by (route) (requests_total) and on (route) limit", {"route=a": 100}),
        ("sum by (route) (requests_total) unless on (route) limit", {"route=b": 300}),
        ('limit or requests_total{route="b"}', {"route=a": 50, "route=b,status=200": 300}),
        ("limit and on () up", {"route=a": 50}),
        ("limit / 0", {"route=a": math.inf}),
        ("absent(limit)", {}),
        ('absent(nothing{route="a"})', {"route=a": 1}),
        ("up", {"": 1}),
    ],
)
def test_vector_expressions_match_hand_calculated_results(
    samples: Samples, expression: str, expected: dict[str, float]
) -> None:
    assert labelled(expression, samples) == expected


def test_time_is_a_scalar(samples: Samples) -> None:
    assert evaluate("time() - 1 * 2", samples, T) == T - 2


def counted(*values: float, every: float = 60) -> Samples:
    """A counter, scraped once a minute, the last time at T."""
    found = Samples()
    for number, value in enumerate(values):
        found.scrape(f"c_total {value}\n", T - every * (len(values) - 1 - number))
    return found


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        # 4 intervals of a minute within 300 s: grown by 8 in 240 s, extrapolated to 300 s.
        ("increase(c_total[5m])", (100, 102, 104, 106, 108), 10),
        ("rate(c_total[5m])", (100, 102, 104, 106, 108), 10 / 300),
        # It cannot have been below zero: 240 s and the 60 s in which it grew from 0 to 2 are the whole range.
        ("increase(c_total[5m])", (2, 4, 6, 8, 10), 10),
        # ... and from 0 on nothing is added.
        ("increase(c_total[5m])", (0, 2, 4, 6, 8), 8),
        # A reset: 2 more, then 3 from nothing; 120 s of 300 s seen, and half an interval before them.
        ("increase(c_total[5m])", (10, 12, 3), 5 * 150 / 120),
        ("increase(c_total[5m])", (7, 7, 7), 0),
    ],
)
def test_rate_and_increase_match_hand_calculated_results(
    expression: str, values: tuple[float, ...], expected: float
) -> None:
    assert labelled(expression, counted(*values)) == {"": pytest.approx(expected)}


def test_a_single_value_has_no_increase() -> None:
    assert labelled("increase(c_total[5m])", counted(3)) == {}


def test_offset_evaluates_at_an_earlier_time() -> None:
    samples = counted(1, 2, 3, 4)
    assert labelled("c_total offset 2m", samples) == {"": 2}
    assert labelled("c_total unless c_total offset 10m", samples) == {"": 4}
    assert labelled("increase(c_total[2m] offset 1m)", samples) == {"": pytest.approx(2)}


def test_a_quantile_lies_within_its_bucket() -> None:
    samples = Samples()
    samples.scrape('t_bucket{le="0.1"} 90\nt_bucket{le="0.2"} 98\nt_bucket{le="+Inf"} 100\n', T)
    assert labelled("histogram_quantile(0.94, t_bucket)", samples) == {"": pytest.approx(0.15)}
    assert labelled("histogram_quantile(0.45, t_bucket)", samples) == {"": pytest.approx(0.05)}
    assert labelled("histogram_quantile(0.99, t_bucket)", samples) == {"": pytest.approx(0.2)}


def test_a_series_ends_when_a_scrape_lacks_it_or_after_five_minutes() -> None:
    samples = Samples()
    samples.scrape("a 1\nb 1\n", T)
    samples.scrape("a 1\n", T + 15)
    samples.scrape(None, T + 30, instance="other")
    assert (labelled("b", samples, T + 14), labelled("b", samples, T + 15)) == ({"": 1}, {})
    assert (labelled("a", samples, T + 300), labelled("a", samples, T + 315)) == ({"": 1}, {})
    assert evaluate("sum(up)", samples, T + 30) == {frozenset(): 1}
    samples.scrape(None, T + 45)
    assert evaluate("sum(up)", samples, T + 45) == {frozenset(): 0}
    assert labelled("a", samples, T + 45) == {}


def test_a_job_label_of_the_page_overrides_the_job_of_the_scrape() -> None:
    samples = Samples()
    samples.scrape('runs{job="cache-warm"} 1\n', T)
    assert labelled('runs{job="cache-warm"}', samples) == {"": 1}
    assert labelled('up{job="wishcraft"}', samples) == {"": 1}
