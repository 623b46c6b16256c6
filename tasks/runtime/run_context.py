"""Log context of a run, for the flow and for each of its tasks, in any process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
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
        "deployment": _deployment_name(),
        "run": flow_run.name,
        "run_id": flow_run.id,
        "run_url": run_page(flow_run.id) if flow_run.id else None,
    }
    with log_context(**{name: str(value) for name, value in context.items() if value}):
        yield


def current_run() -> tuple[Flow[..., Any], FlowRun]:
    """The current flow and its run; RuntimeError outside of a flow."""
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow_run is None:
        raise RuntimeError("there is no flow run: call this within a flow")
    return context.flow, context.flow_run


def _deployment_name() -> str | None:
    """The name of the run's deployment. `prefect.runtime` asks Prefect's server each time if the run has none."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.deployment_id is None and run.parent_task_run_id is None:
        return None
    name: str | None = deployment.name
    return name
