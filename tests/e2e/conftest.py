"""A running stack and a browser: the stack that is up, or one started for these tests; both end with them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
BOARD = ROOT / ".wishcraft/board.json"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]
MAKE = shutil.which("make") or "make"
READY_SECONDS = 300


@pytest.fixture(scope="session")
def board() -> Iterator[dict[str, Any]]:
    """Where everything is."""
    if BOARD.exists():
        yield json.loads(BOARD.read_text())
        return
    ports = {"API_PORT": str(free_port()), "PREFECT_PORT": str(free_port())}
    environment = {**os.environ, **ports}
    process = subprocess.Popen([MAKE, "up"], cwd=ROOT, env=environment, start_new_session=True)  # noqa: S603  ours
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not BOARD.exists():
            assert process.poll() is None, "make up ended"
            assert time.monotonic() < deadline, "make up was not ready in time"
            time.sleep(0.2)
        yield json.loads(BOARD.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="session")
def page() -> Iterator[Page]:
    """One page of headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: install it to run the browser's tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=30_000)
        yield page
        browser.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
