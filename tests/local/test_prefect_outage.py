"""The worker outlives an outage of Prefect's API."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.failing_proxy import BUSY, PAGE, FailingProxy
from tests.support.prefect_calls import create_run, delete_run, read_state, running_shop_tasks, wait_for
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.usefixtures("demo")]
POLLS = 15
"""Prefect's own worker ends at the twelfth failed poll in a row."""


@pytest.fixture
def proxy(environment: dict[str, str]) -> Iterator[FailingProxy]:
    """A proxy between the workers and Prefect."""
    with FailingProxy(urlsplit(environment["PREFECT_API_URL"]).port or 0) as proxy:
        yield proxy


@pytest.fixture
def job_environment(job_environment: dict[str, str], proxy: FailingProxy) -> dict[str, str]:
    """The environment of workers that use the proxy."""
    return job_environment | {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}


class TestManyPolls:
    @pytest.fixture
    def job_environment(self, job_environment: dict[str, str]) -> dict[str, str]:
        """The environment of workers that poll so often that they would soon give up."""
        return job_environment | {"PREFECT_WORKER_QUERY_SECONDS": "0.01"}

    async def test_worker_and_its_run_outlive_an_outage_of_prefect(
        self, http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, proxy: FailingProxy
    ) -> None:
        worker = start_worker()
        run = create_run(http, slow_job, batches=100_000, seconds=0.1)
        await wait_for(lambda: bool(running_shop_tasks(http, run)))
        proxy.fail()
        await wait_for(lambda: sum("get_scheduled" in path for path in proxy.refused) >= POLLS)
        proxy.heal()
        await wait_for(lambda: "Prefect answers again" in worker.log.read_text())
        assert worker.log.read_text().count("Prefect does not answer; the worker keeps trying") == 1
        assert read_state(http, run)["type"] == "RUNNING"
        assert worker.stop() == 0
        assert read_state(http, run)["type"] == "CANCELLED"
        assert read_state(http, run)["message"].startswith("Stopped after 0 of 3 shops")


async def test_worker_started_in_an_outage_of_prefect_takes_runs_after_it(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, proxy: FailingProxy
) -> None:
    proxy.fail()
    worker = start_worker()
    await wait_for(lambda: "Prefect does not answer; the worker keeps trying" in worker.log.read_text())
    assert "Prefect answers again" not in worker.log.read_text()
    proxy.heal()
    run = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
    await wait_for(lambda: "Prefect answers again" in worker.log.read_text())
    assert worker.stop() == 0


async def test_hour_of_retry_after_delays_neither_the_worker_nor_the_end_of_its_run(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, proxy: FailingProxy
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=5)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    proxy.fail(BUSY)
    await wait_for(lambda: any("get_scheduled" in path for path in proxy.refused))
    await wait_for(lambda: any("artifacts" in path for path in proxy.refused))
    proxy.heal()
    await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
    later = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, later)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_worker_stopped_while_a_page_answers_for_prefect_leaves_no_process(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, proxy: FailingProxy
) -> None:
    worker = start_worker(patience=1)
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    proxy.fail(PAGE)
    assert worker.stop() == 0


async def test_worker_whose_run_was_deleted_stops_and_leaves_no_process(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker(patience=1)
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    delete_run(http, run)
    assert worker.stop() == 0
