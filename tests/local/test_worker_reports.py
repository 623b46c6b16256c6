"""Reports of a worker about its runs: killed runs, and log lines."""

import json
from collections.abc import Callable

import httpx
import pytest
from prefect.utilities.callables import parameter_schema

import flows.audit_trail
from tests.local.conftest import deploy
from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    post,
    read_state,
    running_shop_tasks,
    send_heartbeat,
    set_state,
    start_run,
    wait_for,
)
from tests.support.prefect_worker import Worker
from tests.support.sentry_listener import SentryListener
from wishcraft.resources import Resources

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]


FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture
def audit_trail(http: httpx.Client) -> str:
    """A deployment of `audit-trail` whose runs the server does not check, as a request may ask."""
    schema = parameter_schema(flows.audit_trail.audit_trail).model_dump_for_openapi()
    return deploy(http, "audit-trail", "flows.audit_trail.audit_trail", parameter_openapi_schema=schema)


@pytest.fixture
def job_environment(job_environment: dict[str, str], sentry: SentryListener) -> dict[str, str]:
    """The environment with Sentry and JSON logs."""
    return job_environment | {"SENTRY_DSN": sentry.dsn, "LOG_FORMAT": "json"}


async def test_killed_run_is_reported_once_and_counted_as_crashed(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, sentry: SentryListener, resources: Resources
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    [process] = [run for fork_server in worker.process.children() for run in fork_server.children()]
    process.kill()
    await wait_for(lambda: read_state(http, run)["type"] == "CRASHED")
    await wait_for(lambda: bool(sentry.of_type("event")))
    assert worker.stop() == 0
    [event] = sentry.of_type("event")
    assert event["message"].startswith("slow-job crashed")
    assert event["tags"]["run_id"] == run
    runs = (await resources.counters.read())["job_runs_total"]
    assert [(each.labels, each.value) for each in runs if each.value] == [(("slow-job", "crashed"), 1)]


async def test_run_ends_with_the_fork_server_that_started_it(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    [(fork_server, process)] = [(each, run) for each in worker.process.children() for run in each.children()]
    fork_server.kill()
    await wait_for(lambda: read_state(http, run)["type"] == "CRASHED")
    await wait_for(lambda: not process.is_running())
    again = create_run(http, slow_job, batches=1, seconds=0)  # in a fork of a new server
    await wait_for(lambda: read_state(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_worker_and_runs_log_json_lines_with_the_run_id(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
    assert worker.stop() == 0
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert {line["run_id"] for line in lines if "run" in line["logger"]} == {run}
    assert any("Summary" in line["message"] for line in lines)
    shown = [each["message"] for each in post(http, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})]
    assert any("Summary" in message for message in shown)


async def test_run_that_waits_for_its_turn_is_logged_once(
    http: httpx.Client, start_worker: Callable[..., Worker]
) -> None:
    first = start_run(http, "cache-warm")
    worker = start_worker()
    second = create_run(http, deployment_id(http, "cache-warm"))

    def tries() -> int:
        send_heartbeat(http, first)  # however long this takes, it lives
        states = http.get("/flow_run_states/", params={"flow_run_id": second}).raise_for_status().json()
        return len([each for each in states if each["name"] == "AwaitingConcurrencySlot"])

    await wait_for(lambda: tries() >= 3)
    set_state(http, second, "CANCELLED")
    set_state(http, first, "CANCELLED")
    assert worker.stop() == 0
    assert worker.log.read_text().count(f"Aborted submission of flow run '{second}'") == 1
    assert worker.log.read_text().count(f"submitting flow run '{second}'") == 1


async def test_run_with_unknown_or_missing_parameters_is_refused_with_their_names(
    http: httpx.Client, start_worker: Callable[..., Worker], audit_trail: str, resources: Resources
) -> None:
    worker = start_worker()
    unknown = create_run(http, audit_trail, shop="a", shops="b")
    missing = create_run(http, audit_trail)
    await wait_for(lambda: all(read_state(http, run)["type"] in FINAL for run in (unknown, missing)))
    assert worker.stop() == 0
    assert {read_state(http, run)["name"] for run in (unknown, missing)} == {"Refused"}
    asked = {"artifacts": {"key": {"any_": ["audit-trail-refused"]}, "flow_run_id": {"any_": [unknown, missing]}}}
    summaries = {each["flow_run_id"]: each["description"] for each in post(http, "/artifacts/filter", asked)}
    assert summaries == {run: read_state(http, run)["message"] for run in (unknown, missing)}
    begin = "Refused: invalid parameters: shops: is unknown. Did you mean shop? Known are shop, actor, "
    assert summaries[unknown].startswith(begin)
    assert summaries[missing] == "Refused: invalid parameters: shop: is missing"
    runs = (await resources.counters.read())["job_runs_total"]
    assert [(each.labels, each.value) for each in runs if each.value] == [(("audit-trail", "refused"), 2)]
    assert '"level":"error"' not in worker.log.read_text()


async def test_invalid_parameter_is_quoted_neither_in_the_log_nor_in_the_state(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches="Chloe Laurent", seconds={"note": "12 Rue des Fleurs"})
    await wait_for(lambda: read_state(http, run)["type"] in FINAL)
    assert worker.stop() == 0
    assert '"level":"error"' not in worker.log.read_text()
    shown = post(http, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    state = json.dumps(read_state(http, run))
    assert "batches: must be a whole number such as 2" in state
    assert read_state(http, run)["name"] == "Refused"
    for text in (worker.log.read_text(), json.dumps(shown), state):
        assert not [word for word in ("Chloe", "Laurent", "Fleurs") if word in text]
