"""Two processes that share a metrics folder: each exposes the metrics of both, without duplicates."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deployments.sandbox.demo import add_key
from deployments.sandbox.environment import settings_environment
from tests.support.aliases import Demo
from tests.support.api import public_slug
from tests.support.exposition import Sample, named, requests, samples
from tests.support.waiting import PATIENCE_SECONDS, block_until
from wishcraft.settings import Settings

TEMPLATE = "/api/registries/{ref}"


class ApiProcess:
    """An API process on a port of its own, with its metrics in the folder."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = settings_environment(settings.model_copy(update={"api_port": port, "drain_seconds": 0}))
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.long_timeouts"], env=os.environ | environment
        )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        block_until(self._is_ready)

    def scrape(self) -> dict[Sample, float]:
        return samples(httpx.get(f"{self.url}/metrics", timeout=PATIENCE_SECONDS).text)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/readiness", timeout=PATIENCE_SECONDS).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def processes(settings: Settings, demo: Demo, tmp_path: Path) -> Iterator[list[ApiProcess]]:
    both = [ApiProcess(settings, tmp_path), ApiProcess(settings, tmp_path)]
    try:
        for each in both:
            each.wait_until_ready()
        yield both
    finally:
        for each in both:
            each.kill()


def test_each_process_exposes_the_counts_of_both_without_a_killed_ones_gauges(
    processes: list[ApiProcess], demo: Demo, tmp_path: Path
) -> None:
    key, slug = {"X-API-Key": add_key(demo, 1).key}, public_slug(demo)
    for process, times in zip(processes, (4, 7), strict=True):
        for _ in range(times):
            answer = httpx.get(f"{process.url}/api/registries/{slug}", headers=key, timeout=PATIENCE_SECONDS)
            assert answer.status_code == 200
    for process in processes:
        process.scrape()  # each process updates its gauges, which the other exposes too
    samples = [process.scrape() for process in processes]
    for each in samples:
        on_fast_path, on_route = each[requests(TEMPLATE, 200, "edge")], each[requests(TEMPLATE, 200)]
        assert (on_fast_path, on_route) == (9, 2)  # the first read of each process goes to the route
        assert each[named("wishcraft_db_connections_limit")] == 20
        assert each[named("wishcraft_breaker_open", store="redis")] == 0
        assert not [labels for _, labels in each if "pid" in dict(labels)]
    first, second = processes
    assert list(tmp_path.glob(f"gauge_live*_{first.pid}.db"))
    first.kill()
    left = second.scrape()
    assert left[named("wishcraft_db_connections_limit")] == 10
    assert left[requests(TEMPLATE, 200, "edge")] == 9
