"""A running stack (the one that is up, or one started for these tests) and a browser."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from deployments.sandbox.processes import ROOT, free_port
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.optional import skip_or_fail

STACK_INFO = ROOT / ".wishcraft/board.json"
MAKE = shutil.which("make") or "make"
READY_SECONDS = 600
DESKTOP: ViewportSize = {"width": 1400, "height": 1000}


@pytest.fixture(scope="session")
def stack() -> Iterator[dict[str, Any]]:
    """The stack info: addresses and keys of the running stack."""
    if STACK_INFO.exists():
        yield json.loads(STACK_INFO.read_text())
        return
    ports = {"API_PORT": str(free_port()), "PREFECT_PORT": str(free_port())}
    environment = {**os.environ, **ports}
    process = subprocess.Popen([MAKE, "up"], cwd=ROOT, env=environment, start_new_session=True)  # noqa: S603  ours
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not STACK_INFO.exists():
            assert process.poll() is None, "make up exited"
            assert time.monotonic() < deadline, "make up was not ready in time"
            time.sleep(0.2)
        yield json.loads(STACK_INFO.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    if CHROMIUM is None:
        skip_or_fail("chromium", "Chromium is not installed: install the package chromium")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def logged_in_page(browser: Browser, stack: dict[str, Any]) -> Page:
    """A page that is logged in to the Prefect UI; its own requests send the password, too."""
    user, _, password = stack["prefect_password"].partition(":")
    page = new_page(browser, http_credentials={"username": user, "password": password, "send": "always"})
    log_in(page, stack)
    return page


@pytest.fixture
def page(logged_in_page: Page) -> Iterator[Page]:
    """The page of the session; after a test on a phone it is as wide as before, also if the test failed."""
    yield logged_in_page
    logged_in_page.set_viewport_size(DESKTOP)


def new_page(browser: Browser, **options: Any) -> Page:
    page = browser.new_page(viewport=DESKTOP, **options)
    page.set_default_timeout(60_000)
    return page


def log_in(page: Page, stack: dict[str, Any]) -> None:
    """Log in to the Prefect UI, which remembers it."""
    page.goto(f"{stack['prefect_ui']}/deployments")
    page.get_by_placeholder("admin:pass").fill(stack["prefect_password"])
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_placeholder("Search deployments")).to_be_visible()
