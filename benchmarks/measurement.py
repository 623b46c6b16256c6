"""Measurement of one benchmark stage in a separate process, which isolates its memory and CPU time."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.servers import Servers


@dataclass(frozen=True)
class Measurement:
    """Units processed and their cost; `cpu` in seconds of the measured process, `requests` to the simulated Shopify."""

    count: int
    seconds: float
    cpu: float
    peak_mib: float
    requests: int = 0

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.count / self.seconds


async def measure(work: Callable[[], Awaitable[int]]) -> Measurement:
    """Run the work and measure it; the work returns its number of units."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = await work()
    return Measurement(count, time.perf_counter() - wall, time.process_time() - cpu, _peak_mib())


def measure_in_process(stage: str, servers: Servers) -> Measurement:
    """Run the stage of `benchmarks.stages` with this name in a new process."""
    before = servers.shopify_requests()
    command = [sys.executable, "-m", "benchmarks.stages", stage]
    done = subprocess.run(command, env=servers.environment(), stdout=subprocess.PIPE, check=True)  # noqa: S603  own module
    measured: dict[str, Any] = orjson.loads(done.stdout)
    return Measurement(**measured | {"requests": servers.shopify_requests() - before})


def as_json(measurement: Measurement) -> str:
    """The measurement as the JSON that a stage's process prints."""
    return orjson.dumps(asdict(measurement)).decode()


def _peak_mib() -> float:
    """Peak memory of this process. `ru_maxrss` would include the parent's memory before exec."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
