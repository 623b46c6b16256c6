"""Starts a job in a process of its own; the jobs are the modules of `tests.support.jobs`."""

import os
import sys

from deployments.sandbox.environment import settings_environment
from wishcraft.settings import Settings


def command(job: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tests.support.jobs.{job}", *arguments]


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with the test's settings."""
    return os.environ | settings_environment(settings)
