"""Progress of a task, and requests to stop: both go through Prefect's API, so the task may run on any machine.

A task's progress is a progress artifact of its task run; `flows.runtime.progress` adds up those of a flow run.
"""

import asyncio
import time
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.context import AsyncClientContext, TaskRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from wishcraft.errors import RunStopped, in_words

STOPPING: Final = "Stopping"
"""Name of the Running state of a flow run that must end between two batches."""
UPDATE_SECONDS: Final = 2.0
"""Interval of a task's updates: two requests to Prefect each. A request to stop is seen within this time."""
UPDATE_TIMEOUT_SECONDS: Final = 5.0
"""For one update; if Prefect does not answer, the work continues."""


def must_stop(state: State) -> bool:
    """Whether a flow run in this state must stop, or has already ended, for example by cancellation."""
    return state.name == STOPPING or state.is_cancelling() or state.is_final()


async def is_run_stopping() -> bool:
    """Whether the current flow run must stop."""
    async with get_client() as client:
        state = (await client.read_flow_run(UUID(str(flow_run.id)))).state
    return state is not None and must_stop(state)


class TaskProgress:
    """Progress of a task run over its items, and the check whether its flow run must stop."""

    def __init__(self, items: int) -> None:
        """`items` is their number."""
        self._items = items
        self._finished = 0
        self._next_update = 0.0  # the first is due at once: a task of a run that is stopping must not start any work
        self._artifact: UUID | None = None

    def finish_item(self) -> None:
        """Count the current item as finished."""
        self._finished += 1

    async def checkpoint(self, done: int, total: int) -> None:
        """The `Checkpoint` of the current item.

        Raises:
            RunStopped: The flow run must stop, or has already ended.
        """
        if time.monotonic() < self._next_update:
            return
        percent = 100 * (self._finished + (done / total if total else 0)) / self._items
        state = await self._update(percent)
        self._next_update = time.monotonic() + UPDATE_SECONDS
        if state and must_stop(state):
            raise RunStopped(f"the run is {state.name}")

    async def _update(self, percent: float) -> State | None:
        """Write the progress to Prefect and read the flow run's state; None if Prefect does not answer."""
        context = TaskRunContext.get()
        if context is None or context.task_run.flow_run_id is None:
            return None
        try:
            async with asyncio.timeout(UPDATE_TIMEOUT_SECONDS), AsyncClientContext.get_or_create() as prefect:
                if self._next_update:  # a short task ends before its second update and gets no artifact
                    await self._write_artifact(prefect.client, context.task_run.id, percent)
                return (await prefect.client.read_flow_run(context.task_run.flow_run_id)).state
        except Exception as error:  # noqa: BLE001  no answer of Prefect or a proxy may end the work
            get_run_logger().warning(
                "Prefect did not accept the progress of this task; the work continues: %s", in_words(error)
            )
            return None

    async def _write_artifact(self, client: PrefectClient, task_run_id: UUID, percent: float) -> None:
        if self._artifact is None:
            created = ArtifactCreate(type="progress", task_run_id=task_run_id, data=percent)
            self._artifact = (await client.create_artifact(created)).id
        else:
            await client.update_artifact(self._artifact, ArtifactUpdate(data=percent))
