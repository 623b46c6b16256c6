"""Log context of a run, for the flow and for each of its tasks, in any process."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.runtime import deployment, flow_run

from tasks.runtime.ui_links import run_page
from wishcraft.observability.context import log_context
from wishcraft.observability.sentry import start_sentry
from wishcraft.settings import settings


@contextmanager
def run_context() -> Iterator[None]:
    """Start Sentry, and bind the current run's names, ids and page to logs and Sentry events within the block.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    start_sentry(settings(), "job")
    context = {
        "job": flow_run.flow_name,
        "deployment": deployment.name,
        "run": flow_run.name,
        "run_id": flow_run.id,
        "run_url": run_page(flow_run.id) if flow_run.id else None,
    }
    with log_context(**{name: str(value) for name, value in context.items() if value}):
        yield
