"""What every log line and report of a run is about, in whatever process a part of it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.runtime import deployment, flow_run

from tasks.runtime.ui_links import run_page
from wishcraft.observability.context import log_context
from wishcraft.observability.sentry import start_sentry
from wishcraft.settings import settings


@contextmanager
def run_context() -> Iterator[None]:
    """Within the block, what is logged and reported says which run it is part of.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    start_sentry(settings(), "job")
    subject = {
        "job": flow_run.flow_name,
        "deployment": deployment.name,
        "run": flow_run.name,
        "run_id": flow_run.id,
        "run_url": run_page(flow_run.id) if flow_run.id else None,
    }
    with log_context(**{name: str(value) for name, value in subject.items() if value}):
        yield
