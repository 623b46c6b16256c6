"""A machine is lost with the worker and the run on it, in the moments when the run has no heartbeat yet."""

from collections.abc import Callable

import httpx
import pytest

from tests.local.conftest import deploy
from tests.support.prefect_automations import wait_for_end_without_a_sign_of_life
from tests.support.prefect_calls import create_run, post, read_state, set_state, wait_for
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]


@pytest.mark.parametrize(
    ("entrypoint", "last_state"),
    [
        ("tests.support.job_dying_at_import.slow_job", "PENDING"),
        ("tests.support.dying_job.dying_job", "RUNNING"),
    ],
)
async def test_run_lost_before_its_first_heartbeat_is_crashed_and_frees_its_slot(
    http: httpx.Client, prefect_database: str, start_worker: Callable[..., Worker], entrypoint: str, last_state: str
) -> None:
    deployment = deploy(http, f"lost-{last_state}", entrypoint)
    worker = start_worker()
    run = create_run(http, deployment)
    await wait_for(lambda: worker.process.poll() is not None)
    assert read_state(http, run)["type"] == last_state
    state = wait_for_end_without_a_sign_of_life(http, prefect_database, run)
    assert state["type"] == "CRASHED"
    assert "died at its start" in state["message"]
    again = create_run(http, deployment)
    set_state(http, again, "PENDING")  # accepted only with a free slot


async def test_heartbeat_of_a_run_names_its_deployment_as_the_automations_require(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=100_000, seconds=0.1)
    query = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
            "related": {"role": ["deployment"]},
        }
    }
    await wait_for(lambda: bool(post(http, "/events/filter", query)["events"]))
    assert worker.stop() == 0
