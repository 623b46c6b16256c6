"""The loop of a task over its items, with progress, stops, durations and failures."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from prefect.logging import get_run_logger
from prefect.runtime import task_run

from tasks.runtime.progress import TaskProgress
from tasks.runtime.retries import advice_for, problem_of
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import DatabaseRejected, RunStopped, WishCraftError
from wishcraft.services.checkpoint import Checkpoint

T = TypeVar("T")
ItemWork = Callable[[T, Checkpoint], Awaitable[Mapping[str, int]]]
"""The work on one item; it returns its counts."""


class Failure(NamedTuple):
    """The result of an item that failed, and its error."""

    result: WorkResult
    error: Exception


async def work_on_items(items: Mapping[str, T], work: ItemWork[T]) -> tuple[list[WorkResult], list[Failure]]:
    """Do the work on each item in turn; an item's failure does not stop the others.

    Once the run must stop, the current item ends at its next checkpoint and no other item starts.

    Args:
        items: The items by name.
        work: Called once per item.

    Returns:
        One result per item, and the failures among them.
    """
    progress = TaskProgress(len(items))
    results: list[WorkResult] = []
    failures: list[Failure] = []
    for name, item in items.items():
        started = time.perf_counter()
        try:
            await progress.checkpoint(0, 1)
            counts = await work(item, progress.checkpoint)
        except RunStopped:
            unfinished = list(items)[len(results) :]
            return [*results, *(WorkResult(each, stopped=True) for each in unfinished)], failures
        except Exception as error:  # noqa: BLE001  the other items continue, whatever the error
            if isinstance(error, DatabaseRejected) or not isinstance(
                error, WishCraftError
            ):  # a bug: its traceback counts
                get_run_logger().error("%s failed", name, exc_info=error)
            seconds = time.perf_counter() - started
            result = WorkResult(name, {}, seconds, problem_of(error), advice_for(error), task_run.run_count)
            failures.append(Failure(result, error))
        else:
            result = WorkResult(name, counts, time.perf_counter() - started, tries=task_run.run_count)
        results.append(result)
        progress.finish_item()
    return results, failures
