"""`python -m deployments.prefect_setup`: create the work pool, queues, automations and deployments. Idempotent.

PREFECT_API_URL names the server; the command waits for it.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentCreate, DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from deployments.automations import prepare_automations
from wishcraft.errors import ConfigurationError
from wishcraft.services.operations.prefect_api import POOL, read_pages
from wishcraft.settings import JobSettings, TimeSettings, load, time_zone

QUEUES: Final = ("critical", "default", "bulk")  # in descending priority
JOB_TEMPLATE: Final = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The pool's template: a run may set no command, environment variable or folder of its process."""
SERVER_SECONDS: Final = 180.0
_REQUEST_SECONDS: Final = 5.0
_UNAUTHORIZED: Final = 401
_COMPARED: Final = (
    *("version", "entrypoint", "description", "tags", "parameters", "parameter_openapi_schema", "concurrency_options"),
    *("enforce_parameter_schema", "work_pool_name", "work_queue_name", "job_variables"),
)
_SENT: Final = ("name", "schedules", "concurrency_limit", "pull_steps", *_COMPARED)
_ROOT: Final = Path(__file__).resolve().parents[1]


def require_server() -> None:
    """Check that Prefect's clients have a server: without its URL, they would start a temporary one.

    Raises:
        ConfigurationError: PREFECT_API_URL is missing or invalid.
    """
    if not (PREFECT_API_URL.value() or "").startswith(("http://", "https://")):
        raise ConfigurationError(
            "PREFECT_API_URL is missing or invalid: set it to the URL of Prefect's API, such as http://127.0.0.1:4200/api"
        )


@contextmanager
def refused_login_named() -> Iterator[None]:
    """Context manager: name the setting of a login that Prefect refuses.

    Raises:
        ConfigurationError: Prefect answered 401.
    """
    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code != _UNAUTHORIZED:
            raise
        raise ConfigurationError(
            "Prefect refuses the login: set PREFECT_API_AUTH_STRING to the PREFECT_SERVER_API_AUTH_STRING of its server"
        ) from error


async def prepare() -> None:
    """Create or update the work pool, its queues and the automations.

    Raises:
        TimeoutError: The server did not answer within SERVER_SECONDS.
        ConfigurationError: As `refused_login_named`.
    """
    with refused_login_named():
        await _prepare()


async def _prepare() -> None:
    async with get_client() as client:
        await _wait_for_server(client)
        await _prepare_pool(client, POOL)
        for priority, name in enumerate(QUEUES, start=1):
            await _prepare_queue(client, name, priority)
        await prepare_automations(client, load(JobSettings))


async def _wait_for_server(client: PrefectClient, request_seconds: float = _REQUEST_SECONDS) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while (error := await _check_server(client, request_seconds)) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"Prefect at {client.api_url} did not answer within {SERVER_SECONDS:.0f} s. Check PREFECT_API_URL."
            ) from error
        await asyncio.sleep(0.2)


async def _check_server(client: PrefectClient, seconds: float) -> Exception | None:
    try:
        async with asyncio.timeout(seconds):  # the client may wait longer for its own next try
            return await client.api_healthcheck()
    except TimeoutError as error:
        return error


async def _prepare_pool(client: PrefectClient, name: str) -> None:
    """Create the pool, or update its template: Prefect's `overwrite` would resume a paused pool and lift its limit."""
    try:
        pool = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=JOB_TEMPLATE)
        await client.create_work_pool(pool)
    except ObjectAlreadyExists:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=JOB_TEMPLATE))


async def _prepare_queue(client: PrefectClient, name: str, priority: int) -> None:
    try:
        queue = await client.create_work_queue(name, work_pool_name=POOL, priority=priority)
    except ObjectAlreadyExists:
        queue = await client.read_work_queue_by_name(name, work_pool_name=POOL)
        if queue.priority != priority:
            await client.update_work_queue(queue.id, priority=priority)


def describe_deployments() -> list[tuple[str, DeploymentCreate]]:
    """The deployments of `prefect.yaml`, each with its flow's name, and daily schedules in the time zone of TZ."""
    text = in_time_zone((_ROOT / "prefect.yaml").read_text("utf-8"), time_zone().key)
    return [(_load(config).name, _describe(config)) for config in yaml.safe_load(text)["deployments"]]


async def deploy(deployments: Sequence[tuple[str, DeploymentCreate]]) -> None:
    """Create the deployments, each of the flow with the name beside it.

    Updates those that differ, which also brings back what was changed in Prefect's UI. A schedule that was paused there
    stays so.
    """
    async with get_client() as client:
        existing = {each.name: each for each in await read_pages(client.read_deployments)}
        for flow_name, wanted in deployments:
            found = existing.get(wanted.name)
            if found is None or _differs(found, wanted):
                for schedule in wanted.schedules:
                    schedule.active = found is None or all(each.active for each in found.schedules)
                flow_id = await client.create_flow_from_name(flow_name)
                await client.create_deployment(flow_id, **{name: getattr(wanted, name) for name in _SENT})


def _describe(config: dict[str, Any]) -> DeploymentCreate:
    """The deployment that an entry of `prefect.yaml` describes, without its flow's id."""
    flow, limit, pool = _load(config), config["concurrency_limit"], config["work_pool"]
    return DeploymentCreate(
        name=config["name"],
        flow_id=UUID(int=0),
        version=flow.version,
        entrypoint=config["entrypoint"],
        description=config["description"],
        tags=config["tags"],
        parameters=config["parameters"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(mode="json", exclude_unset=True),
        enforce_parameter_schema=True,
        schedules=[DeploymentScheduleCreate(schedule=CronSchedule(**each)) for each in config["schedules"]],
        concurrency_limit=limit["limit"],
        concurrency_options=ConcurrencyOptions(collision_strategy=limit["collision_strategy"]),
        work_pool_name=pool["name"],
        work_queue_name=pool["work_queue_name"],
        pull_steps=[],
        job_variables={},
    )


def _load(config: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(config["entrypoint"])


def _differs(found: DeploymentResponse, wanted: DeploymentCreate) -> bool:
    """Whether Prefect has something else than is wanted. An update deletes and creates the scheduled runs."""
    limit = found.global_concurrency_limit
    return (
        any(getattr(found, name) != getattr(wanted, name) for name in _COMPARED)
        or (limit.limit if limit else None) != wanted.concurrency_limit
        or [each.schedule for each in found.schedules] != [each.schedule for each in wanted.schedules]
        or bool(found.pull_steps)
    )


def in_time_zone(deployments: str, name: str) -> str:
    """The text of `prefect.yaml` with this time zone instead of the default of TZ; schedules in UTC stay so."""
    return deployments.replace(f"timezone: {TimeSettings.model_fields['tz'].default}\n", f"timezone: {name}\n")


async def set_up() -> None:
    """Create or update everything. Raises as `prepare`, or ConfigurationError."""
    deployments = describe_deployments()  # first: it imports every flow, while Prefect may still start
    await prepare()
    await deploy(deployments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.prefect_setup", description=__doc__)
    parser.parse_args(arguments)
    try:
        require_server()
        asyncio.run(set_up())
    except (ConfigurationError, TimeoutError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
