"""Samples as Prometheus stores them: scraped from /metrics pages, with the labels that scraping adds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

LOOKBACK_SECONDS = 300.0
Labels = frozenset[tuple[str, str]]
Point = tuple[float, float | None]
"""Time and value; the value is None (a staleness marker) where a scrape no longer had the series."""


@dataclass(slots=True)
class Samples:
    """Series by their name and their labels including `__name__`, with points in order of time."""

    series: dict[str, dict[Labels, list[Point]]] = field(default_factory=dict)

    def scrape(self, page: str | None, at: float, instance: str = "one") -> None:
        """Store a page; None is a failed scrape. A `job` label of the page wins, as with honor_labels."""
        found = {_series("up", instance): float(page is not None)}
        for line in (page or "").splitlines():
            if line and not line.startswith("#"):
                text, _, shown = line.rpartition(" ")
                found[_series(text, instance)] = float(shown)
        for name, series in self.series.items():
            for labels, points in series.items():
                if ("instance", instance) in labels and (name, labels) not in found and points[-1][1] is not None:
                    points.append((at, None))
        for (name, labels), value in found.items():
            self.series.setdefault(name, {}).setdefault(labels, []).append((at, value))

    def last(self, name: str, at: float) -> Iterator[tuple[Labels, float]]:
        """Yield the newest value of each series of the name at that time, unless it is stale or too old."""
        for labels, points in self.series.get(name, {}).items():
            newest = next((point for point in reversed(points) if point[0] <= at), None)
            if newest and newest[1] is not None and newest[0] > at - LOOKBACK_SECONDS:
                yield labels, newest[1]

    def between(self, name: str, start: float, end: float) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
        """Yield the points of each series of the name after `start` and up to `end`."""
        for labels, points in self.series.get(name, {}).items():
            yield labels, [(at, value) for at, value in points if start < at <= end and value is not None]


@cache
def _series(text: str, instance: str) -> tuple[str, Labels]:
    """The name and the labels of a series as a page writes it; cached, because each page has almost the same ones."""
    [family] = text_string_to_metric_families(f"{text} 0\n")
    [sample] = family.samples
    labels = {"__name__": sample.name, "job": "wishcraft", "instance": instance, **sample.labels}
    return sample.name, frozenset(labels.items())
