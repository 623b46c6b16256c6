"""The jobs' table: each stage beside the naive way or its floor in the same run, and what ten times the data costs."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.measuring import Measurement, measure_apart
from benchmarks.naive import SAMPLE
from benchmarks.servers import Running
from benchmarks.stages import spoil

HEADING: Final = (
    f"{'registries':>10}  {'what':<42} {'of them':>9} {'a second':>9} {'us CPU':>7} {'naive':>7} {'growth':>6}"
    f" {'MiB':>4} {'requests':>8}"
)
NOTES: Final = f"""
us CPU    microseconds of the worker's processor for each; PostgreSQL, Redis and the simulator have their own
naive     how many times as many a second as the naive way in the same run
growth    how many times as long for each as at the size before: 1.0 is linear
MiB       the most memory that the stage's process held
requests  to the simulated Shopify, bulk operations' polls and the first question included
The naive way is measured on a sample: {SAMPLE:,} registries, {SAMPLE // 10:,} items of each shop at most."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    measured: Measurement
    naive: Measurement | None = None

    def formatted(self, registries: int, smaller: "Row | None") -> str:
        """The line; `smaller` is the same one at the size before."""
        own = self.measured
        ratio = f"{own.rate / self.naive.rate:.1f}x" if self.naive else ""
        growth = f"{smaller.measured.rate / own.rate:.1f}" if smaller else ""
        cpu = 1e6 * own.cpu / max(1, own.count)
        return (
            f"{registries:>10,}  {self.what:<42} {own.count:>9,} {own.rate:>9,.0f} {cpu:>7,.0f}"
            f" {ratio:>7} {growth:>6} {own.peak_mib:>4,.0f} {own.requests or '':>8}"
        )


def rows(servers: Running) -> Iterator[Row]:
    """Every stage in turn; what one leaves is what the next begins with."""
    naive = measure_apart("warm-naive", servers)
    yield Row("warm, naive: objects and SET, one by one", naive)
    yield Row("warm, cold", measure_apart("warm", servers), naive)
    yield Row("warm, nothing changed", measure_apart("warm", servers), naive)
    naive = measure_apart("sync-naive", servers)
    yield Row("sync, naive: a request for each item", naive)
    yield Row("simulator's floor: variants by id", measure_apart("sync-floor", servers))
    yield Row("sync, nothing changed: variants", measure_apart("sync", servers), naive)
    asyncio.run(spoil(servers.settings))
    yield Row("sync, a tenth changed: items written", measure_apart("write", servers), naive)
    yield Row("warm, after the sync", measure_apart("warm", servers))
