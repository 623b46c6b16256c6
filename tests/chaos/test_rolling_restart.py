"""Two API processes behind a proxy that polls their readiness are restarted in turn; no request fails."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import httpx
import pytest

from deployments.sandbox.demo import add_key
from deployments.sandbox.http_probe import responds
from deployments.sandbox.processes import free_port
from tests.support.aliases import Demo
from tests.support.job_processes import environment
from tests.support.waiting import PATIENCE_SECONDS, block_until
from wishcraft.settings import Settings

DRAIN_SECONDS = 3
"""Enough for the proxy to ask twice, also on a busy machine."""
pytestmark = [pytest.mark.chaos, pytest.mark.long]


class Process:
    """An API process on a free port."""

    def __init__(self, settings: Settings) -> None:
        self.port = free_port()
        self._settings = settings.model_copy(
            update={"api_port": self.port, "drain_seconds": DRAIN_SECONDS, "rate_limit_per_minute": 1_000_000}
        )
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "api"], env=environment(self._settings))
        block_until(lambda: is_ready(self.url))

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) in {0, -15}


def is_ready(url: str) -> bool:
    return responds(f"{url}/health/readiness", timeout=PATIENCE_SECONDS)


class Proxy:
    """Load-balancing client: sends each request to a ready process, polls readiness ten times a second."""

    def __init__(self, urls: list[str], path: str, headers: dict[str, str]) -> None:
        self._urls, self._path, self._headers = urls, path, headers
        self._ready = list(urls)
        self._ended = Event()
        self.answers: Counter[object] = Counter()
        self._threads = [Thread(target=self._ask), *(Thread(target=self._send, args=[n]) for n in range(4))]

    @contextmanager
    def sending(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join(30)

    def _ask(self) -> None:
        while not self._ended.wait(0.1):
            self._ready = [url for url in self._urls if is_ready(url)]

    def _send(self, number: int) -> None:
        with httpx.Client(headers=self._headers, timeout=PATIENCE_SECONDS) as client:
            while not self._ended.is_set():
                number += 1
                ready = self._ready
                try:
                    answer = client.get(ready[number % len(ready)] + self._path)
                    self.answers[answer.status_code] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1


def test_no_request_fails_in_a_rolling_restart(settings: Settings, demo: Demo) -> None:
    row = demo.execute(
        "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active'"
    ).fetchone()
    assert row
    processes = [Process(settings), Process(settings)]
    proxy = Proxy([each.url for each in processes], f"/api/registries/{row[0]}", {"X-API-Key": add_key(demo, 1).key})
    try:
        with proxy.sending():
            for process in processes:
                process.stop()
                process.start()
    finally:
        for process in processes:
            process.stop()
    assert set(proxy.answers) == {200}
    assert proxy.answers[200] > 100
