"""What all jobs share: a flow over batches of shops that ends with a table, a sentence and a truthful state."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast

from prefect import Flow, State, Task, flow
from prefect.artifacts import acreate_table_artifact
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from wishcraft.domain.outcomes import ShopOutcome, sentence, table, total

P = ParamSpec("P")
R = TypeVar("R")

SHOPS_AT_ONCE: Final = 4


def job(name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A flow that works on several batches of shops at once."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=SHOPS_AT_ONCE)
    return flow(name=name, task_runner=cast("TaskRunner[PrefectFuture[Any]]", runner))  # its type is invariant


async def run_batches(
    work: Task[..., Any], shop_batches: Sequence[Sequence[str]], **parameters: object
) -> list[ShopOutcome]:
    """Run the task on every batch; a batch whose task failed for good becomes a failed outcome of each of its shops."""
    futures = [work.submit(list(batch), **parameters) for batch in shop_batches]
    await asyncio.to_thread(wait, futures)  # the runner's threads do the work; this loop stays free for heartbeats
    return [
        outcome
        for batch, future in zip(shop_batches, futures, strict=True)
        for outcome in await _outcomes(batch, future)
    ]


async def summarise(key: str, outcomes: Sequence[ShopOutcome]) -> State[dict[str, int]]:
    """Leave the run's table, and end it: `Completed` with the totals, or `Failed` if a shop failed."""
    message = sentence(outcomes)
    artifact = await acreate_table_artifact(table(outcomes), key=key, description=message)
    get_run_logger().info("%s Table: %s/artifacts/artifact/%s", message, PREFECT_UI_URL.value(), artifact)
    if any(outcome.problem for outcome in outcomes):
        return Failed(message=message)
    return Completed(message=message, data=total(outcomes))


async def _outcomes(batch: Sequence[str], future: PrefectFuture[Any]) -> list[ShopOutcome]:
    result = await future.state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        problem = f"{type(result).__name__}: {result}".partition("\n")[0]
        return [ShopOutcome(shop, problem=problem) for shop in batch]
    return list(result)
