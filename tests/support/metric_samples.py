"""Samples as Prometheus stores them: scraped from /metrics pages, with the labels that scraping adds."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

LOOKBACK_SECONDS = 300.0
Labels = frozenset[tuple[str, str]]
Point = tuple[float, float | None]
"""Time and value; the value is None (a staleness marker) where a scrape no longer had the series."""


@dataclass(slots=True)
class Samples:
    """Series by their labels including `__name__`, with points in order of time."""

    series: dict[Labels, list[Point]] = field(default_factory=dict)

    def scrape(self, page: str | None, at: float, instance: str = "one") -> None:
        """Store a page; None is a failed scrape. A `job` label of the page wins, as with honor_labels."""
        target = {"job": "wishcraft", "instance": instance}
        found: dict[Labels, float] = {_labels("up", target): float(page is not None)}
        for family in text_string_to_metric_families(page or ""):
            for sample in family.samples:
                found[_labels(sample.name, target | sample.labels)] = float(sample.value)
        for labels, points in self.series.items():
            if ("instance", instance) in labels and labels not in found and points[-1][1] is not None:
                points.append((at, None))
        for labels, value in found.items():
            self.series.setdefault(labels, []).append((at, value))

    def last(self, at: float) -> Iterator[tuple[Labels, float]]:
        """Yield each series' newest value at that time, unless it is stale or older than the lookback."""
        for labels, points in self.series.items():
            newest = next((point for point in reversed(points) if point[0] <= at), None)
            if newest and newest[1] is not None and newest[0] > at - LOOKBACK_SECONDS:
                yield labels, newest[1]

    def between(self, start: float, end: float) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
        """Yield each series' points after `start` and up to `end`."""
        for labels, points in self.series.items():
            yield labels, [(at, value) for at, value in points if start < at <= end and value is not None]


def _labels(name: str, labels: dict[str, str]) -> Labels:
    return frozenset({"__name__": name, **labels}.items())
