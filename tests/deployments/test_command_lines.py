"""Commands with a wrong setting or argument end with one line, before they start anything."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deployments.sandbox.processes import ROOT
from tests.support.waiting import PATIENCE_SECONDS
from tests.support.warm_interpreter import WarmInterpreter
from wishcraft.settings import Settings

COMPLETE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1",
    "ENCRYPTION_KEYS": "sVvXkE1HjFMZ3gYRkFyUW6pUoLr8iFqVjQ0sJtT0m4o=",
    "SHOPIFY_API_KEY": "id",
    "SHOPIFY_API_SECRET": "secret",
    "PREFECT_API_URL": "http://127.0.0.1:1/api",
}
NO_DATABASE = "PostgreSQL does not answer: check DATABASE_URL. "
NO_PREFECT = "PREFECT_API_URL is missing or invalid: "
IMPORTED = (
    "alembic.command",
    "api.app",
    "api.fast_path",
    "api.server",
    "deployments.sandbox.demo_rows",
    "griffe",
    "jsonschema",
    "pendulum",
    "websockets.asyncio.client",
    "wishcraft.services.webhooks.consume",
    "wishcraft.services.webhooks.handlers",
    "yaml",
)
"""Modules of the commands and Prefect. Prefect itself reads the environment on import: that is for each command."""


def environment(changes: dict[str, str]) -> dict[str, str]:
    """Complete settings but for these changes, of which an empty one is not set."""
    ours = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return inherited | {name: value for name, value in (COMPLETE | changes).items() if value}


@pytest.fixture(scope="module")
def interpreter() -> Iterator[WarmInterpreter]:
    """Runs `python -m`. It has no settings: a module that needs them to be imported fails."""
    with WarmInterpreter(IMPORTED, environment(dict.fromkeys(COMPLETE, ""))) as interpreter:
        yield interpreter


@pytest.mark.parametrize(
    ("command", "name", "value", "line"),
    [
        ("api", "SENTRY_DSN", "abc", "WishCraft cannot start. SENTRY_DSN: must look like "),
        ("deployments.worker", "SENTRY_DSN", "abc", "The worker cannot start. SENTRY_DSN: must look like "),
        ("deployments.worker", "PREFECT_API_URL", "", f"The worker cannot start. {NO_PREFECT}"),
        ("deployments.webhooks", "REDIS_URL", "ftp://x", "The consumer of webhooks cannot start. REDIS_URL: must look"),
        ("api", "REDIS_URL", "redis://h/0?nonsense=1", "WishCraft cannot start. REDIS_URL: must look like redis://"),
        ("api", "MAIL_URL", "smtp://user@h", "WishCraft cannot start. MAIL_URL: must look like smtp://"),
        ("wishcraft.migrations upgrade", "DATABASE_URL", "postgresql://db/w?bad=1", "DATABASE_URL: must look like pos"),
        ("deployments.monitoring folder", "MAIL_URL", "smtp://h:port", "MAIL_URL: must look like smtp://"),
        ("deployments.prefect_setup", "TZ", "Mars/Olympus", "TZ: must be the name of a time zone"),
        ("deployments.prefect_setup", "PREFECT_API_URL", "", NO_PREFECT),
        ("deployments.prefect_setup", "PREFECT_API_URL", "nope", NO_PREFECT),
        ("deployments.api_keys list shop", "DATABASE_URL", "", "DATABASE_URL: is missing"),
        ("deployments.api_keys list shop", "DATABASE_URL", "nonsense", "DATABASE_URL: must look like postgresql://"),
        ("deployments.api_keys list shop", "TZ", "UTC", NO_DATABASE),
        ("deployments.monitoring folder", "OPS_EMAIL", "notmail", "OPS_EMAIL: must be an address"),
        ("deployments.sandbox.demo", "DATABASE_URL", "nonsense", "DATABASE_URL: must look like postgresql://"),
        ("wishcraft.migrations upgrade", "DATABASE_URL", "", "DATABASE_URL: is missing"),
        ("wishcraft.migrations upgrade", "TZ", "UTC", NO_DATABASE),
    ],
)
def test_command_with_a_wrong_setting_ends_with_one_line(
    interpreter: WarmInterpreter, command: str, name: str, value: str, line: str
) -> None:
    end = interpreter.run(command.split(), environment({name: value}))
    assert end.stderr.startswith(line), end.stderr
    assert (end.returncode, end.stderr.count("\n"), end.stdout) == (1, 1, "")


@pytest.mark.parametrize("module", ["api", "deployments.prefect_setup"])
def test_unknown_argument_is_refused(interpreter: WarmInterpreter, module: str) -> None:
    end = interpreter.run([module, "extra"], environment({}))
    assert end.returncode == 2
    assert end.stderr.endswith(f"python -m {module}: error: unrecognized arguments: extra\n")


TYPED: Final = (
    "api",
    "benchmarks",
    "deployments.api_keys",
    "deployments.local",
    "deployments.monitoring",
    "deployments.prefect_setup",
    "deployments.vulnerabilities",
    "deployments.webhooks",
    "deployments.worker",
)
"""What people run with `python -m`, or `make`; other programs run the rest."""


@pytest.mark.parametrize("command", TYPED)
def test_command_that_is_interrupted_while_it_imports_ends_with_one_line(command: str, tmp_path: Path) -> None:
    for module in ("argparse", "asyncio", "pydantic", "random"):
        (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt\n")  # a signal may be ignored
    end = subprocess.run(  # noqa: S603  ours
        [sys.executable, "-m", command],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (end.returncode, end.stdout, end.stderr) == (-signal.SIGINT, "", "Interrupted.\n")


def test_interrupted_api_ends_without_a_traceback() -> None:
    variables = environment({"API_PORT": "0", "LOG_FORMAT": "text"})
    with subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=variables,
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as api:
        assert api.stdout
        assert any("Uvicorn running" in line for line in api.stdout)
        api.send_signal(signal.SIGINT)
        last_words, _ = api.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in last_words
    assert api.returncode == 0
