"""The `job` decorator, and what jobs over batches share: their tasks, artifacts and final state."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, cast

from prefect import Flow, State, Task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.runtime.job_flow import JobFlow, require_valid_parameters
from flows.runtime.progress import wait_with_progress
from flows.runtime.run_lifecycle import on_run_end, with_lifecycle
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.run_name import current_run_name
from tasks.runtime.ui_links import artifact_page, with_runbook_links
from wishcraft.domain.work_results import WorkResult, summary_sentence, total_counts
from wishcraft.observability.sentry import capture_error
from wishcraft.reports.run_summary import render_summary, table_rows
from wishcraft.settings import JobSettings, load

P = ParamSpec("P")
Runner = TaskRunner[PrefectFuture[Any]]
Work = Callable[P, Coroutine[Any, Any, State[Any]]]

CONCURRENT_TASKS: Final = 4
RUN_TIMEOUT: Final = timedelta(hours=6)
"""Ends a run that hangs: it would block its deployment, which runs one at a time. Alerts fire much earlier."""


def job(name: str) -> Callable[[Work[P]], Flow[P, Coroutine[Any, Any, State[Any]]]]:
    """A Prefect flow with the run lifecycle, the timeout and the task runner that TASK_RUNNER selects.

    Any error in its parameters ends a run as Refused, with the reason.
    """

    def make_flow(work: Work[P]) -> Flow[P, Coroutine[Any, Any, State[Any]]]:
        @wraps(work)
        async def run(*arguments: P.args, **parameters: P.kwargs) -> State[Any]:
            async def work_if_valid() -> State[Any]:
                require_valid_parameters()
                return await work(*arguments, **parameters)

            return await with_lifecycle(work_if_valid)

        return JobFlow(
            run,
            name=name,
            flow_run_name=current_run_name,
            task_runner=task_runner(load(JobSettings)),
            timeout_seconds=RUN_TIMEOUT.total_seconds(),
            # Else each run asks Prefect's server for both defaults, with clients left unclosed.
            persist_result=False,
            result_storage=PREFECT_LOCAL_STORAGE_PATH.value(),
            on_completion=[on_run_end],
            on_failure=[on_run_end],
            on_crashed=[on_run_end],
            on_cancellation=[on_run_end],
        )

    return make_flow


def task_runner(settings: JobSettings) -> Runner:
    """Threads of this process, or a Dask cluster: that at DASK_ADDRESS, else a local one per run."""
    if settings.task_runner == "threads":
        return cast("Runner", ThreadPoolTaskRunner[Any](max_workers=CONCURRENT_TASKS))  # TaskRunner is invariant
    from prefect_dask.task_runners import DaskTaskRunner  # an optional dependency, and the import takes a second

    if settings.dask_address:
        return cast("Runner", DaskTaskRunner(address=settings.dask_address))
    # A free port: None is Dask's usual one, which two runs on one machine would both want.
    return cast("Runner", DaskTaskRunner(cluster_kwargs={"dashboard_address": "127.0.0.1:0"}))


async def run_batches(
    work: Task[..., Any], batches: Sequence[Sequence[str]], /, **parameters: object
) -> list[WorkResult]:
    """Run the task on every batch; if it raises, each item of its batch gets a failed result.

    The task returns a `WorkState`: it ends as Failed if an item failed, and its results count all the same.
    """
    futures = [work.submit(list(batch), **parameters) for batch in batches]
    await wait_with_progress(futures, [len(batch) for batch in batches])
    return [
        result for batch, future in zip(batches, futures, strict=True) for result in await _batch_results(batch, future)
    ]


async def summarise(
    key: str,
    results: Sequence[WorkResult],
    watched: Sequence[str] = (),
    noun: str = "shop",
    warning: str = "",
    page_only: str = "",
) -> State[dict[str, int]]:
    """Publish the run's summary and table as artifacts, and return its final state.

    Args:
        key: The job's name. The table is the artifact `<key>`, the summary `<key>-summary`.
        results: One per item.
        watched: Names of counts that need attention if they are not 0; the summary lists their items.
        noun: What an item is.
        warning: A sentence of Markdown on what a person must do although nothing failed.
        page_only: A paragraph of Markdown that the summary has and the state's message does not, such as a link.

    Returns:
        `Cancelled` if the run was stopped, else `Failed` if an item failed, else `Completed` with the total counts.
    """
    message = f"{summary_sentence(results, noun)} {warning}".rstrip()
    rows = await acreate_table_artifact(table_rows(results, noun), key=key, description=message)
    summary = render_summary(results, watched, noun, f"{warning} {page_only}".strip())
    text = with_runbook_links(f"{summary}\n\n[All {noun}s]({artifact_page(rows)})")
    page = await acreate_markdown_artifact(text, key=f"{key}-summary", description=message)
    get_run_logger().info("%s Summary: %s", message, artifact_page(page))
    if any(result.stopped for result in results):
        return Cancelled(message=message)
    if any(result.problem for result in results):
        return Failed(message=message)
    return Completed(message=message, data=total_counts(results))


async def _batch_results(batch: Sequence[str], future: PrefectFuture[Any]) -> list[WorkResult]:
    try:
        result = await asyncio.to_thread(future.result, raise_on_failure=False)
    except Exception as error:  # noqa: BLE001  a Dask worker died, which leaves the task run without a state
        result = error
    if result is None:  # Prefect has ended the task run itself, and left it no result
        result = RuntimeError(f"The task run ended as {future.state.name}: {future.state.message}")
    if not isinstance(result, BaseException):
        return list(result)
    capture_error(result)
    return [WorkResult(name, problem=problem_of(result), advice=advice_for(result)) for name in batch]
