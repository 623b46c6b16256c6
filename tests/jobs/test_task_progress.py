"""The progress of a task, which it reports between two batches."""

from unittest.mock import patch

import pytest
from prefect import State, flow, task
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from tasks.runtime.progress import TaskProgress

pytestmark = pytest.mark.usefixtures("prefect_server")


@task
async def batch(answer: Exception) -> str:
    """Report progress while Prefect answers so."""
    with patch.object(PrefectClient, "read_flow_run", side_effect=answer):
        await TaskProgress(1).checkpoint(0, 1)
    return "done"


@flow
async def job(answer: Exception) -> str:
    """Run one batch."""
    return await batch(answer)


@pytest.mark.parametrize(
    "answer",
    [ValueError("a page instead of JSON"), ObjectNotFound(http_exc=ValueError("deleted")), TimeoutError()],
    ids=lambda answer: type(answer).__name__,
)
async def test_work_continues_whatever_prefect_answers_about_progress(answer: Exception) -> None:
    state: State[str] = await job(answer, return_state=True)
    assert await state.aresult() == "done"
