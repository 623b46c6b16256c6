"""Starts a job in a process of its own; the jobs are the modules of `tests.support.jobs`."""

import os
import sys

from pydantic import SecretStr

from wishcraft.settings import Settings


def command(job: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tests.support.jobs.{job}", *arguments]


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with the test's settings."""
    variables = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
    return {**os.environ, **variables}
