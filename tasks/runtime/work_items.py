"""The loop of a task over its items, with progress, stops, durations, failures and tries."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from prefect import State
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Completed, Failed

from tasks.runtime.progress import TaskProgress
from tasks.runtime.retries import MAX_TRIES, advice_for, problem_of
from wishcraft.domain.work_results import WorkResult, summary_sentence
from wishcraft.errors import DatabaseRefused, RunStopped, TransientError, WishCraftError
from wishcraft.observability.sentry import capture_error
from wishcraft.services.checkpoint import Changes, Checkpoint

T = TypeVar("T")
ItemWork = Callable[[T, Checkpoint, Changes], Awaitable[Mapping[str, int]]]
"""The work on one item; it fills `Changes` as it proceeds, and returns its counts."""
WorkState: TypeAlias = State[list[WorkResult]]
"""Failed if an item failed: Prefect shows its task run in red. Otherwise Completed."""

_earlier_tries: Final = dict[str, dict[str, WorkResult]]()
"""Results by item of the last try of the task runs that are to be tried again. Prefect does so in the same process."""


class Results(list[WorkResult]):
    """One result per item. Prefect logs `repr` of the state in which the last try of a task run fails."""

    def __repr__(self) -> str:
        """Only how many there are: the results of a batch would be a line of many kilobytes."""
        return f"<{len(self)} results>"


class Attempt(NamedTuple):
    """The result of an item in this try, and its error if it failed."""

    result: WorkResult
    error: Exception | None = None


async def work_on_items(items: Mapping[str, T], work: ItemWork[T], noun: str = "shop") -> WorkState:
    """Do the work on each item in turn; an item's failure does not stop the others.

    Once the run must stop, the current item ends at its next checkpoint and no other item starts.

    Args:
        items: The items by name.
        work: Called once per item and try.
        noun: What an item is, in the message; also the tag of its name in Sentry.

    Returns:
        The state in which the task run ends, with one result per item, which has the changes of all its tries.

    Raises:
        TransientError: An item failed with a transient error and the task has tries left. The next try works on the
            items that failed.
    """
    earlier = _earlier_tries.pop(str(task_run.id), {})
    progress = TaskProgress(len(items))
    attempts: list[Attempt] = []
    for name, item in items.items():
        before = earlier.get(name, WorkResult(name))
        if name in earlier and not before.problem:
            attempts.append(Attempt(before))
        elif any(each.result.stopped for each in attempts):
            attempts.append(Attempt(WorkResult(name, before.counts, stopped=True)))
        else:
            attempts.append(await _attempt(before, item, work, progress))
        progress.finish_item()
    results = Results(each.result for each in attempts)
    transient = [f"{each.name} ({each.problem})" for each, error in attempts if isinstance(error, TransientError)]
    if transient and task_run.run_count < MAX_TRIES and not any(result.stopped for result in results):
        _earlier_tries[str(task_run.id)] = {result.name: result for result in results}
        raise TransientError("; ".join(transient))
    for result, error in attempts:  # of the last try only
        if error:
            capture_error(error, **{noun: result.name})
    end = Failed if any(result.problem for result in results) else Completed
    return end(message=summary_sentence(results, noun), data=results)


async def _attempt(before: WorkResult, item: T, work: ItemWork[T], progress: TaskProgress) -> Attempt:
    """Do the work on the item; `before` has the changes of its earlier tries."""
    name, tries, started = before.name, task_run.run_count, time.perf_counter()
    changes = Changes()

    def result(counts: Mapping[str, int], **rest: Any) -> WorkResult:
        return WorkResult(name, _sum(counts, before.counts), examples=_join(before.examples, changes.examples), **rest)

    try:
        await progress.checkpoint(0, 1)
        counts = await work(item, progress.checkpoint, changes)
    except RunStopped:
        return Attempt(result(changes, stopped=True))
    except Exception as error:  # noqa: BLE001  the other items continue after any error
        if isinstance(error, DatabaseRefused) or not isinstance(error, WishCraftError):  # a bug: its traceback counts
            get_run_logger().error("%s failed", name, exc_info=error)
        seconds = before.seconds + time.perf_counter() - started
        problem, advice = problem_of(error), advice_for(error)
        return Attempt(result(changes, seconds=seconds, problem=problem, advice=advice, tries=tries), error)
    return Attempt(result(counts, seconds=before.seconds + time.perf_counter() - started, tries=tries))


def _join(earlier: Mapping[str, Sequence[str]], later: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The examples of both, without repetitions."""
    kinds = dict.fromkeys([*earlier, *later])
    return {kind: list(dict.fromkeys([*earlier.get(kind, ()), *later.get(kind, ())])) for kind in kinds}


def _sum(counts: Mapping[str, int], earlier: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + earlier.get(name, 0) for name in {**counts, **earlier}}
