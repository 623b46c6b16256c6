"""One stage of the benchmark, measured in a process of its own, so that its memory and its CPU time are its own."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.servers import Running


@dataclass(frozen=True)
class Measurement:
    """How many of what in how long; `cpu` is of the measured process alone, `requests` those to Shopify."""

    count: int
    seconds: float
    cpu: float
    peak_mib: float
    requests: int = 0

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds


async def measure(work: Callable[[], Awaitable[int]]) -> Measurement:
    """Do the work, which says how many of its things it did."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = await work()
    return Measurement(count, time.perf_counter() - wall, time.process_time() - cpu, _peak_mib())


def measure_apart(stage: str, servers: Running) -> Measurement:
    """Run the stage of `benchmarks.stages` with this name in a new process."""
    before = servers.shopify_requests()
    command = [sys.executable, "-m", "benchmarks.stages", stage]
    done = subprocess.run(command, env=servers.environment(), stdout=subprocess.PIPE, check=True)  # noqa: S603  own module
    measured: dict[str, Any] = orjson.loads(done.stdout)
    return Measurement(**measured | {"requests": servers.shopify_requests() - before})


def as_json(measurement: Measurement) -> str:
    """What the process of a stage prints."""
    return orjson.dumps(asdict(measurement)).decode()


def _peak_mib() -> float:
    """The most memory this process has held; `ru_maxrss` would count its parent's before the start."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
