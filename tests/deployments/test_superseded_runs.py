"""Waiting runs of a schedule that need not start, in a real Prefect server."""

from datetime import timedelta

import pytest
from prefect import flow, get_client
from prefect.states import Scheduled

from deployments.superseded_runs import cancel_superseded

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
async def idle() -> None:
    """A flow whose runs are created and never started."""


async def test_superseded_run_that_prefect_has_deleted_holds_up_no_other() -> None:
    async with get_client() as client:
        deployment_id = await client.create_deployment(await client.create_flow(idle), "piles-up")
        try:
            created = [await client.create_flow_run_from_deployment(deployment_id, state=Scheduled()) for _ in range(3)]
            waiting = [
                run.model_copy(update={"auto_scheduled": True, "expected_start_time": run.expected_start_time + days})
                for run, days in zip(created, map(timedelta, range(3)), strict=True)
                if run.expected_start_time
            ]
            await client.delete_flow_run(waiting[0].id)
            assert await cancel_superseded(client, waiting) == {waiting[0].id, waiting[1].id}
            states = [(await client.read_flow_run(run.id)).state_name for run in waiting[1:]]
        finally:
            await client.delete_deployment(deployment_id)
    assert states == ["Cancelled", "Scheduled"]
