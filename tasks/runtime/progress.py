"""How a task, on whatever machine, tells its run how far it is and learns that it is to stop: through Prefect's API.

The figure is a progress artifact of the task run; the flow adds up those of its tasks (`flows.runtime.progress`).
"""

import asyncio
import time
from typing import Final
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.context import AsyncClientContext, TaskRunContext
from prefect.logging import get_run_logger

from wishcraft.errors import RunStopped

STOPPING: Final = "Stopping"
"""The name of the Running state of a run that was asked to end between two batches."""
NEWS_SECONDS: Final = 2.0
"""Between two exchanges of a task with Prefect: two requests, and the longest for which a wish to stop goes unseen."""
PATIENCE_SECONDS: Final = 5.0
"""For an exchange: while Prefect is away the work goes on."""


def is_to_end(state: State) -> bool:
    """Whether a run in this state was asked to end, or has ended otherwise, such as by being cancelled."""
    return state.name == STOPPING or state.is_cancelling() or state.is_final()


class BatchProgress:
    """The share of a task run that is done, of `shops` in turn, and whether to go on."""

    def __init__(self, shops: int) -> None:
        self._shops = shops
        self._finished = 0
        self._next_news = 0.0  # at once: a task of a run that is stopping has nothing to begin
        self._artifact: UUID | None = None

    def finish_shop(self) -> None:
        """Count one more shop as done."""
        self._finished += 1

    async def checkpoint(self, done: int, total: int) -> None:
        """The `Checkpoint` of the shop at hand.

        Raises:
            RunStopped: The run was asked to stop, or has ended otherwise, such as by being cancelled.
        """
        if time.monotonic() < self._next_news:
            return
        percent = 100 * (self._finished + (done / total if total else 0)) / self._shops
        state = await self._exchange(percent)
        self._next_news = time.monotonic() + NEWS_SECONDS
        if state and is_to_end(state):
            raise RunStopped(f"the run is {state.name}")

    async def _exchange(self, percent: float) -> State | None:
        """Tell Prefect how far the task is; what it says of the run, or None if it does not answer."""
        context = TaskRunContext.get()
        if context is None or context.task_run.flow_run_id is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), AsyncClientContext.get_or_create() as prefect:
                if self._next_news:  # a short task has no progress to look at
                    await self._report(prefect.client, context.task_run.id, percent)
                return (await prefect.client.read_flow_run(context.task_run.flow_run_id)).state
        except (httpx.HTTPError, TimeoutError) as error:
            get_run_logger().warning("Prefect did not hear how far this task is: %r", error)
            return None

    async def _report(self, client: PrefectClient, task_run_id: UUID, percent: float) -> None:
        if self._artifact is None:
            created = ArtifactCreate(type="progress", task_run_id=task_run_id, data=percent)
            self._artifact = (await client.create_artifact(created)).id
        else:
            await client.update_artifact(self._artifact, ArtifactUpdate(data=percent))
