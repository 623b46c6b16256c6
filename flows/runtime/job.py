"""What all jobs share: a flow over batches of shops that ends with a summary, a table and a truthful state."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial, wraps
from typing import Any, Final, ParamSpec, cast

from prefect import Flow, State, Task, flow
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.runtime.progress import follow
from flows.runtime.run_lifecycle import end_run, with_lifecycle
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.ui_links import artifact_page
from wishcraft.domain.work_results import WorkResult, sentence, table, total
from wishcraft.observability.sentry import capture_error
from wishcraft.reports.run_summary import render_summary
from wishcraft.settings import JobSettings

P = ParamSpec("P")
Runner = TaskRunner[PrefectFuture[Any]]
Work = Callable[P, Coroutine[Any, Any, State[Any]]]

SHOPS_AT_ONCE: Final = 4
LONGEST: Final = timedelta(hours=6)
"""A run is given up then, so that it cannot keep its deployment's only slot for good; alerts come long before."""


def job(name: str) -> Callable[[Work[P]], Flow[P, Coroutine[Any, Any, State[Any]]]]:
    """A flow that works on several batches of shops at once, where TASK_RUNNER says, and reports how it ends."""

    def make_flow(work: Work[P]) -> Flow[P, Coroutine[Any, Any, State[Any]]]:
        @wraps(work)
        async def run(*arguments: P.args, **parameters: P.kwargs) -> State[Any]:
            return await with_lifecycle(partial(work, *arguments, **parameters))

        return flow(
            name=name,
            task_runner=task_runner(JobSettings()),
            timeout_seconds=LONGEST.total_seconds(),
            on_completion=[end_run],
            on_failure=[end_run],
            on_crashed=[end_run],
            on_cancellation=[end_run],
        )(run)

    return make_flow


def task_runner(settings: JobSettings) -> Runner:
    """Threads of this process, or a Dask cluster: the one at DASK_ADDRESS, else one on this machine for each run."""
    if settings.task_runner == "threads":
        return cast("Runner", ThreadPoolTaskRunner[Any](max_workers=SHOPS_AT_ONCE))  # its type is invariant
    from prefect_dask.task_runners import DaskTaskRunner  # an extra, which needs a second to import

    if settings.dask_address:
        return cast("Runner", DaskTaskRunner(address=settings.dask_address))
    return cast("Runner", DaskTaskRunner(cluster_kwargs={"dashboard_address": None}))


async def run_batches(
    work: Task[..., Any], shop_batches: Sequence[Sequence[str]], **parameters: object
) -> list[WorkResult]:
    """Run the task on every batch; a batch whose task failed for good becomes a failed outcome of each of its shops."""
    futures = [work.submit(list(batch), **parameters) for batch in shop_batches]
    await follow(futures, [len(batch) for batch in shop_batches])
    return [
        outcome
        for batch, future in zip(shop_batches, futures, strict=True)
        for outcome in await _outcomes(batch, future)
    ]


async def summarise(
    key: str, outcomes: Sequence[WorkResult], watched: Sequence[str] = (), noun: str = "shop", warning: str = ""
) -> State[dict[str, int]]:
    """Leave the run's summary and table, and end it.

    Args:
        key: The job's name: its artifacts' history is kept under it.
        outcomes: One for each shop, or for each of what `noun` says.
        watched: The counts of which any is worth a look; the summary names the shops.
        noun: What the job goes by.
        warning: A sentence of Markdown on what somebody has to do although nothing failed.

    Returns:
        `Cancelled` if the run was asked to stop, else `Failed` if a shop failed, else `Completed` with the totals.
    """
    message = f"{sentence(outcomes, noun)} {warning}".rstrip()
    rows = await acreate_table_artifact(table(outcomes, noun), key=key, description=message)
    text = f"{render_summary(outcomes, watched, noun, warning)}\n\n[All {noun}s]({artifact_page(rows)})"
    page = await acreate_markdown_artifact(text, key=f"{key}-summary", description=message)
    get_run_logger().info("%s Summary: %s", message, artifact_page(page))
    if any(outcome.stopped for outcome in outcomes):
        return Cancelled(message=message)
    if any(outcome.problem for outcome in outcomes):
        return Failed(message=message)
    return Completed(message=message, data=total(outcomes))


async def _outcomes(batch: Sequence[str], future: PrefectFuture[Any]) -> list[WorkResult]:
    try:
        return list(await asyncio.to_thread(future.result))
    except Exception as error:  # noqa: BLE001  also a Dask worker's death, which leaves the task run without an end
        capture_error(error)
        return [WorkResult(shop, problem=problem_of(error), advice=advice_for(error)) for shop in batch]
