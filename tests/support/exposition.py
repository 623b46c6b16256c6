"""Samples of an exposition of metrics, by name and labels."""

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(text: str) -> dict[Sample, float]:
    """Every sample of an exposition, without duplicates."""
    samples: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = (sample.name, frozenset(sample.labels.items()))
            assert name not in samples
            samples[name] = sample.value
    return samples


def named(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def requests(route: str, status: int, by: str = "route", method: str = "GET") -> Sample:
    return named("wishcraft_request_seconds_count", method=method, route=route, status=str(status), by=by)
