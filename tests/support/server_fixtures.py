"""Servers of this process in the place of Prefect, Shopify, the providers of mail, and Sentry."""

import gc
import logging
from collections.abc import Iterator

import pytest
import sentry_sdk
from fastapi import FastAPI
from pydantic import SecretStr

from deployments.sandbox import mail_providers
from deployments.sandbox.mailbox.app import create_app as create_mailbox
from deployments.sandbox.mailbox.messages import Mailbox
from deployments.sandbox.shopify.app import create_app as create_simulator
from deployments.sandbox.shopify.simulator import Options, Simulator
from tests.support.fake_prefect import PASSWORD, USER, FakePrefect
from tests.support.http_server import served
from tests.support.sentry_listener import SentryListener
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.observability import context
from wishcraft.observability import sentry as sentry_reports
from wishcraft.settings import Settings


@pytest.fixture(scope="session")
def prefect_address() -> Iterator[tuple[str, FakePrefect]]:
    """A server in Prefect's place for the whole session: its address, and itself."""
    fake_prefect = FakePrefect()
    with served(fake_prefect.app) as address:
        yield address, fake_prefect


@pytest.fixture
def prefect(prefect_address: tuple[str, FakePrefect]) -> Iterator[FakePrefect]:
    """The same, with runs to come, none overdue and no others."""
    fake_prefect = prefect_address[1]
    fake_prefect.overdue, fake_prefect.upcoming, fake_prefect.queries, fake_prefect.failing = 0, 12, 0, False
    fake_prefect.started, fake_prefect.runs, fake_prefect.paused = {}, [], []
    yield fake_prefect
    fake_prefect.hangs = False


@pytest.fixture
def prefect_settings(prefect_address: tuple[str, FakePrefect]) -> dict[str, object]:
    """The settings that name that server: `settings.model_copy(update=prefect_settings)`."""
    return {"prefect_api_url": prefect_address[0], "prefect_api_auth_string": SecretStr(f"{USER}:{PASSWORD}")}


@pytest.fixture(scope="session")
def simulator_server() -> Iterator[tuple[str, FastAPI]]:
    """A Shopify simulator on a port of its own for the whole session: its address and its application."""
    app = create_simulator(Options())
    with served(app) as address:
        yield address, app


@pytest.fixture
def simulator(simulator_server: tuple[str, FastAPI]) -> Simulator:
    """The simulator as new: full buckets, the first day's stock, no faults."""
    app = simulator_server[1]
    app.state.simulator = Simulator(Options())
    fresh: Simulator = app.state.simulator
    return fresh


@pytest.fixture(scope="session")
def mailbox_server() -> Iterator[tuple[str, FastAPI]]:
    """A mail server for the whole session: its page's address, and its application."""
    app = create_mailbox()
    with served(app) as address:
        yield address, app


@pytest.fixture
def mailbox(mailbox_server: tuple[str, FastAPI]) -> Mailbox:
    """The mail server's mailbox, empty; neither it nor the providers beside it have faults."""
    state = mailbox_server[1].state
    mailbox: Mailbox = state.mailbox
    mailbox.messages.clear()
    mailbox.faults.clear()
    state.ses.faults.clear()
    state.sendgrid.faults.clear()
    return mailbox


@pytest.fixture
def mail_settings(mailbox_server: tuple[str, FastAPI], mailbox: Mailbox) -> dict[str, object]:
    """The settings that send mail to that server: `settings.model_copy(update=mail_settings)`."""
    return {
        "mail_url": SecretStr(f"smtp://127.0.0.1:{mailbox_server[1].state.smtp_port}"),
        "mail_from": "registry@wishcraft.example",
        "public_url": "https://registry.wishcraft.example",
    }


@pytest.fixture
def mail_urls(mailbox_server: tuple[str, FastAPI], mailbox: Mailbox) -> dict[str, SecretStr]:
    """MAIL_URL of each provider: the mail server, and the simulated ones beside it, without faults."""
    address, app = mailbox_server
    urls = {"smtp": f"smtp://127.0.0.1:{app.state.smtp_port}", **mail_providers.mail_urls(address)}
    return {name: SecretStr(url) for name, url in urls.items()}


@pytest.fixture
def settings_with_mail(base_settings: Settings, mail_settings: dict[str, object], mailbox: Mailbox) -> Settings:
    """Settings that send mail to the mail server, whose mailbox is empty."""
    return base_settings.model_copy(update=mail_settings)


@pytest.fixture
def process_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the process's log record factory and registered secrets after the test, which may change them."""
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    monkeypatch.setattr(context, "_process_secrets", frozenset())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Collect garbage before a test with a Sentry: asyncio logs an error of a task that an earlier test has left.

    What survives belongs to the session and is left out from here on: each collection would look at all of it again.
    """
    if "sentry" in getattr(item, "fixturenames", ()):
        gc.collect()
        gc.freeze()


@pytest.fixture
def sentry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SentryListener]:
    """A server in Sentry's place; `settings.model_copy(update={"sentry_dsn": …})` with its `dsn` sends to it."""
    monkeypatch.setattr(sentry_reports, "FLUSH_SECONDS", PATIENCE_SECONDS)
    request.getfixturevalue("process_globals")
    listener = SentryListener()
    with served(listener) as listener.address:
        yield listener
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)
        sentry_sdk.get_isolation_scope().clear()
