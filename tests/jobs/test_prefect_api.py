"""Lists of Prefect's API are read in full, page by page."""

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from wishcraft.services.operations import prefect_api

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
async def idle() -> None:
    """A flow whose runs are created and never started."""


@pytest.mark.parametrize("page", [1, 2, 3, 200])
async def test_all_runs_are_read_however_many_pages_they_fill(page: int) -> None:
    async with get_client() as client:
        runs = {(await client.create_flow_run(idle)).id for _ in range(3)}
        found = await prefect_api.read_pages(
            client.read_flow_runs, page=page, flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
        )
    assert len(found) == len(runs)
    assert {run.id for run in found} == runs
