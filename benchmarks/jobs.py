"""The jobs table: each stage beside the naive implementation or a lower bound, and its growth with the data."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from benchmarks.measurement import Measurement, measure_in_process
from benchmarks.naive_jobs import SAMPLE
from benchmarks.servers import Servers
from benchmarks.serving import PEER
from benchmarks.stages import make_items_outdated
from benchmarks.web import web_server

HEADING: Final = (
    f"{'registries':>10}  {'what':<42} {'count':>9} {'a second':>9} {'us CPU':>7} {'naive':>7} {'growth':>6}"
    f" {'MiB':>4} {'requests':>8}"
)
NOTES: Final = f"""
us CPU    CPU microseconds of the worker per unit, without PostgreSQL, Redis and the simulator
naive     throughput relative to the naive implementation in the same run
growth    time per unit relative to the previous size: 1.0 is linear
MiB       peak memory of the stage's process
requests  to the simulated Shopify, including polls of bulk operations
recorded  a server of its own sends what the simulator has sent during an earlier sync
The naive implementation is measured on a sample: at most {SAMPLE:,} registries and {SAMPLE // 10:,} items per shop."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    measured: Measurement
    naive: Measurement | None = None

    def formatted(self, registries: int, smaller: "Row | None") -> str:
        """The formatted line; `smaller` is the same row at the previous size."""
        own = self.measured
        ratio = f"{own.rate / self.naive.rate:.1f}x" if self.naive else ""
        growth = f"{smaller.measured.rate / own.rate:.1f}" if smaller else ""
        cpu = 1e6 * own.cpu / max(1, own.count)
        return (
            f"{registries:>10,}  {self.what:<42} {own.count:>9,} {own.rate:>9,.0f} {cpu:>7,.0f}"
            f" {ratio:>7} {growth:>6} {own.peak_mib:>4,.0f} {own.requests or '':>8}"
        )


def rows(servers: Servers) -> Iterator[Row]:
    """Run all stages in order; each starts from the state that the previous one left."""
    naive = measure_in_process("warm-naive", servers)
    yield Row("warm, naive: objects and SET, one by one", naive)
    yield Row("warm, cold", measure_in_process("warm", servers), naive)
    yield Row("warm, nothing changed", measure_in_process("warm", servers), naive)
    naive = measure_in_process("sync-naive", servers)
    yield Row("sync, naive: a request for each item", naive)
    yield Row("simulator's floor: variants by id", measure_in_process("sync-floor", servers))
    yield Row("sync, nothing changed: variants", measure_in_process("sync", servers), naive)
    asyncio.run(make_items_outdated(servers.settings))
    yield Row("sync, a tenth changed: items written", measure_in_process("write", servers), naive)
    yield Row("warm, after the sync", measure_in_process("warm", servers))
    with _recorded_shopify(servers) as recorded:
        yield Row("sync, recorded responses, nothing changed", measure_in_process("sync", recorded), naive)
        asyncio.run(make_items_outdated(servers.settings))
        yield Row("sync, recorded responses, a tenth: items", measure_in_process("write", recorded), naive)


@contextmanager
def _recorded_shopify(servers: Servers) -> Iterator[Servers]:
    """Context manager: the servers, with recorded responses to a sync in place of the simulator."""
    with TemporaryDirectory(prefix="wishcraft-bench-") as folder:
        command = (*PEER, "recorded_shopify")
        with web_server(command, servers.environment(), Path(folder)) as server:
            origin = f"http://127.0.0.1:{server.port}"
            settings = servers.settings.model_copy(update={"shopify_origin": f"{origin}/{{shop}}"})
            recorded = replace(servers, settings=settings)
            measure_in_process("sync", recorded)
            httpx.post(f"{origin}/replay").raise_for_status()
            yield recorded
