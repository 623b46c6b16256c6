"""`python -m deployments.prefect_setup`: create the work pool, queues, automations and deployments. Idempotent.

PREFECT_API_URL names the server; the command waits for it.
"""

import asyncio
import sys
import time
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from prefect.cli import app
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from deployments.automations import prepare_automations
from wishcraft.settings import JobSettings, TimeSettings, time_zone

POOL: Final = "wishcraft"
QUEUES: Final = ("critical", "default", "bulk")  # in descending priority
JOB_TEMPLATE: Final = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The pool's template: a run may set no command, environment variable or folder of its process."""
SERVER_SECONDS: Final = 180.0
_ROOT: Final = Path(__file__).resolve().parents[1]


async def prepare() -> None:
    """Create or update the work pool, its queues and the automations.

    Raises:
        TimeoutError: The server did not answer within SERVER_SECONDS.
    """
    async with get_client() as client:
        await _wait_for_server(client)
        pool = WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=JOB_TEMPLATE)
        await client.create_work_pool(pool, overwrite=True)
        for priority, name in enumerate(QUEUES, start=1):
            await _prepare_queue(client, name, priority)
        await prepare_automations(client, JobSettings())


async def _wait_for_server(client: PrefectClient) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while (error := await client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"Prefect at {client.api_url} did not answer within {SERVER_SECONDS:.0f} s. Check PREFECT_API_URL."
            ) from error
        await asyncio.sleep(0.2)


async def _prepare_queue(client: PrefectClient, name: str, priority: int) -> None:
    try:
        queue = await client.create_work_queue(name, work_pool_name=POOL, priority=priority)
    except ObjectAlreadyExists:
        queue = await client.read_work_queue_by_name(name, work_pool_name=POOL)
        if queue.priority != priority:
            await client.update_work_queue(queue.id, priority=priority)


def deploy() -> None:
    """Apply `prefect.yaml`, with the daily schedules in the time zone of TZ.

    Raises:
        SystemExit: Always; with a code other than 0, Prefect has printed the reason.
    """
    with TemporaryDirectory() as folder, chdir(_ROOT):
        localized = Path(folder) / "prefect.yaml"
        localized.write_text(in_time_zone(Path("prefect.yaml").read_text("utf-8"), time_zone().key), "utf-8")
        # In this process, because importing Prefect in another one takes seconds.
        sys.argv[1:] = ["deploy", "--all", "--no-prompt", "--prefect-file", str(localized)]
        app()


def in_time_zone(deployments: str, name: str) -> str:
    """The text of `prefect.yaml` with this time zone instead of the default of TZ; schedules in UTC stay so."""
    return deployments.replace(f"timezone: {TimeSettings.model_fields['tz'].default}\n", f"timezone: {name}\n")


if __name__ == "__main__":
    asyncio.run(prepare())
    deploy()
