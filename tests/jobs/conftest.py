"""A Prefect server for this session, and a worker's environment for the jobs."""

import gc
from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness

from deployments.sandbox.environment import settings_environment
from wishcraft import settings as settings_module
from wishcraft.settings import Settings


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server with its own database."""
    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.fixture
def worker_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment variables that say what the test's settings say."""
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    settings_module.settings.cache_clear()
    yield
    settings_module.settings.cache_clear()
    gc.collect()  # Prefect leaves a client unclosed: collect it here, where its warning is ignored
