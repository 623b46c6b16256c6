"""Sentry events, metrics and check-ins of a job's runs."""

import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import State, get_client
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Completed, Crashed

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from flows.runtime.job import job
from flows.runtime.run_lifecycle import on_run_end, with_lifecycle
from flows.sync_inventory import sync_inventory
from tasks.runtime.retries import problem_of, task
from tests.support.prefect_artifacts import logs_of, summary_of, tasks_of
from tests.support.sentry_listener import SentryListener
from wishcraft import settings as settings_module
from wishcraft.errors import ConfigurationError, DatabaseRefused, DatabaseUnavailable, NotFound, QueryRefused
from wishcraft.observability.context import log_context
from wishcraft.resources import Resources, open_resources
from wishcraft.store import shops

pytestmark = pytest.mark.usefixtures("prefect_server", "demo")
SHOP = "maple-and-pine.myshopify.com"
BROKEN = "lumiere-maison.myshopify.com"


@pytest.fixture(autouse=True)
def _worker_with_sentry(worker_environment: object, sentry: SentryListener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a worker with SENTRY_DSN."""
    assert worker_environment is None  # the fixture is active
    monkeypatch.setenv("SENTRY_DSN", sentry.dsn)
    monkeypatch.setenv("SENTRY_TRACES_SAMPLE_RATE", "1")
    settings_module.settings.cache_clear()


@job("breaking")
async def breaking(kind: str) -> State[Any]:
    """A job that ends as `kind` says."""
    get_run_logger().info("writing to emma@example.com")
    if kind == "error":
        raise ValueError("shpat_0123456789abcdef is no token of emma@example.com")
    if kind == "refused":
        raise QueryRefused("There is no shop `mapel`.")
    return Cancelled(message="asked to") if kind == "stop" else Completed(message="done")


@task("look up")
async def look_up(kind: str) -> None:
    """A task that fails as `kind` says."""
    cause = ValueError("no registry of hugo@example.com")
    if kind == "ours":
        raise NotFound("there is no registry 12") from cause
    if kind == "setting":
        raise ConfigurationError("MAIL_URL must be set") from cause
    if kind == "fault":
        async with open_resources() as resources, resources.db.autocommit() as session:
            await shops.find_by_domain(session, "emma\0")
    raise DatabaseUnavailable("OperationalError: no route to emma@example.com") from cause


@job("looking-up")
async def looking_up(kind: str) -> State[Any]:
    """A job whose task fails without a retry, and of which `away` gets the error as from a Dask worker."""
    try:
        await look_up.with_options(retries=0)("fault" if kind == "away" else kind)
    except DatabaseRefused as error:
        if kind == "away":
            raise pickle.loads(pickle.dumps(error)) from None  # noqa: S301  our own
        raise
    return Completed(message="done")


async def end_well() -> State[Any]:
    return Completed(message="done")


async def counted(resources: Resources, name: str) -> dict[tuple[str, ...], float]:
    return {each.labels: each.value for each in (await resources.counters.read())[name]}


async def outcomes_of(resources: Resources) -> dict[tuple[str, ...], float]:
    """The outcomes of runs that ended, without those exported as 0."""
    return {labels: value for labels, value in (await counted(resources, "job_runs_total")).items() if value}


async def test_run_is_read_from_prefect_once_and_not_again_for_its_context_or_storage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[str] = []
    send = PrefectHttpxAsyncClient.send

    async def recorded(client: PrefectHttpxAsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        if request.method == "GET":
            reads.append(request.url.path)
        return await send(client, request, **options)

    monkeypatch.setattr(PrefectHttpxAsyncClient, "send", recorded)
    state = await looking_up("ours", return_state=True)
    assert state.is_failed()
    assert reads.count(f"/api/flow_runs/{state.state_details.flow_run_id}") == 1
    assert looking_up.persist_result is False  # else each run asks for both defaults
    assert looking_up.result_storage is not None


async def test_error_that_ends_a_run_is_one_sentry_event_with_a_link_to_the_run(
    sentry: SentryListener, resources: Resources
) -> None:
    state = await breaking("error", return_state=True)
    assert state.is_failed()
    assert state.message == "Value error: [redacted] is no token of [redacted]"
    [event] = sentry.of_type("event")
    assert sentry.errors() == [("ValueError", "[redacted] is no token of [redacted]")]
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "breaking"
    run_id = str(state.state_details.flow_run_id)
    tags = event["tags"]
    assert (tags["job"], tags["run_id"], tags["program"]) == ("breaking", run_id, "job")
    assert tags["run_url"].endswith(f"/v2/runs/flow-run/{run_id}")
    outcomes = {("breaking", outcome): 0.0 for outcome in ("cancelled", "completed", "crashed", "refused")}
    assert await counted(resources, "job_runs_total") == outcomes | {("breaking", "failed"): 1}


@pytest.mark.parametrize(
    ("kind", "message", "name"),
    [
        ("database", "Database unavailable: OperationalError: no route to [redacted]", "DatabaseUnavailable"),
        ("ours", "Not found: there is no registry 12", "NotFound"),
        ("setting", "Configuration error: MAIL_URL must be set", "ConfigurationError"),
    ],
)
async def test_error_that_escapes_a_task_is_redacted_in_states_and_logs(kind: str, message: str, name: str) -> None:
    state = await looking_up(kind, return_state=True)
    assert state.message == message
    [run] = await tasks_of(state, "look up")
    assert run.state
    assert run.state.message == f"Task run encountered an exception {name}: {message.partition(': ')[2]}"  # Prefect's
    logs = await logs_of(state, "Finished in state Failed")
    assert "Traceback" in logs
    assert "example.com" not in logs
    assert "shpat_" not in logs


@pytest.mark.parametrize("kind", ["fault", "away"])
async def test_fault_in_a_task_is_named_with_its_place_and_not_with_its_values(kind: str) -> None:
    summary = await summary_of(await looking_up(kind, return_state=True))
    assert "DatabaseRefused in find_by_domain (wishcraft/store/shops.py, line " in summary
    assert "emma" not in summary


def test_known_value_of_two_lines_is_redacted_before_a_problem_is_cut_to_one() -> None:
    with log_context(lambda: {"Rosewood Lane 7\n8001 Zurich"}):
        assert problem_of(NotFound("No Rosewood Lane 7\n8001 Zurich\nfound")) == "Not found: No [redacted]"


async def test_only_the_last_try_of_a_shop_is_reported_with_its_name(
    sentry: SentryListener, simulator: Simulator
) -> None:
    simulator.shops[SHOP].faults.set(
        Fault(FaultKind.MALFORMED, remaining=4)
    )  # as often as the client tries; the task's retry succeeds
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    state = await sync_inventory([SHOP, BROKEN], return_state=True)
    assert state.is_failed()
    assert [kind for kind, _ in sentry.errors()] == ["ShopifyUnauthorized"]
    [event] = sentry.of_type("event")
    assert (event["tags"]["shop"], event["tags"]["job"]) == (BROKEN, "sync-inventory")


async def test_completed_and_cancelled_runs_are_counted_and_not_reported(
    sentry: SentryListener, resources: Resources
) -> None:
    before = datetime.now(UTC).timestamp()
    for kind in ("nothing", "stop"):
        await breaking(kind, return_state=True)
    assert sentry.of_type("event") == []
    assert {trace["transaction"] for trace in await sentry.wait_for("transaction")} == {"breaking"}
    assert await outcomes_of(resources) == {("breaking", "completed"): 1, ("breaking", "cancelled"): 1}
    assert (await counted(resources, "job_last_success_timestamp_seconds"))["breaking",] >= before
    [durations] = (await resources.counters.read())["job_seconds"]
    assert durations.labels == ("breaking",)


@pytest.mark.parametrize(
    ("parameters", "is_whole"),
    [
        ({"shops": [SHOP], "dry_run": False}, False),
        ({"shops": [], "dry_run": True}, False),
        ({"shops": [], "repair": False, "sample": 100}, False),
        ({"domains": [], "selectors": ["s1"]}, False),
        ({"shops": []}, True),
        ({"shops": [], "repair": True}, True),
    ],
)
async def test_run_for_some_shops_or_without_effect_is_no_success_of_its_job(
    resources: Resources, parameters: dict[str, Any], is_whole: bool
) -> None:
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-fox", parameters=parameters)
    await on_run_end(breaking, run, Completed())
    assert await outcomes_of(resources) == {("breaking", "completed"): 1}
    assert bool(await counted(resources, "job_last_success_timestamp_seconds")) == is_whole


async def test_refused_run_has_an_outcome_of_its_own(resources: Resources) -> None:
    state = await breaking("refused", return_state=True)
    assert state.name == "Refused"
    assert await outcomes_of(resources) == {("breaking", "refused"): 1}


async def test_crashed_run_is_reported_by_the_hook(sentry: SentryListener, resources: Resources) -> None:
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-fox", start_time=datetime.now(UTC), auto_scheduled=True)
    await on_run_end(breaking, run, Crashed(message="Its process died."))
    [event] = sentry.of_type("event")
    assert event["message"] == "breaking crashed: Its process died."
    assert (event["tags"]["run_id"], event["level"]) == (str(run.id), "error")
    assert [each["status"] for each in sentry.of_type("check_in")] == ["error"]
    assert await outcomes_of(resources) == {("breaking", "crashed"): 1}


async def test_run_that_ends_cancelled_while_its_worker_cancels_it_is_counted_once(resources: Resources) -> None:
    state = await breaking("stop", return_state=True)
    async with get_client() as client:
        run = await client.read_flow_run(UUID(str(state.state_details.flow_run_id)))
    await on_run_end(breaking, run, Cancelling(message="Flow run was cancelled."))
    assert await outcomes_of(resources) == {("breaking", "cancelled"): 1}


async def test_scheduled_run_checks_in_with_the_schedule_of_its_deployment(sentry: SentryListener) -> None:
    quarterly = CronSchedule(cron="*/15 * * * *", timezone="America/New_York")
    async with get_client() as client:
        deployment = await client.create_deployment(
            await client.create_flow(breaking), "breaking", schedules=[DeploymentScheduleCreate(schedule=quarterly)]
        )
        run = await client.create_flow_run_from_deployment(deployment)
    scheduled = run.model_copy(update={"auto_scheduled": True})  # as created by Prefect's scheduler
    context: Any = FlowRunContext
    try:
        with context.model_construct(flow=breaking, flow_run=scheduled, client=client):
            state = await with_lifecycle(end_well)
        await on_run_end(breaking, scheduled, state)
    finally:
        async with get_client() as client:
            await client.delete_deployment(deployment)  # its schedule would add runs during later tests
    first, last = sentry.of_type("check_in")
    assert (first["status"], last["status"]) == ("in_progress", "ok")
    assert first["check_in_id"] == last["check_in_id"] == run.id.hex
    assert first["monitor_slug"] == "breaking"
    assert first["monitor_config"]["schedule"] == {"type": "crontab", "value": "*/15 * * * *"}
    assert first["monitor_config"]["timezone"] == "America/New_York"


async def test_manual_run_does_not_check_in(sentry: SentryListener) -> None:
    await breaking("error", return_state=True)
    assert sentry.of_type("check_in") == []
