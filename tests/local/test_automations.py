"""The automations on a real Prefect server: dead runs are crashed and alerts are sent."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect.events import EventTrigger

from deployments.automations import MAX_DURATION, end_dead_runs
from deployments.sandbox.processes import ROOT
from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    post,
    read_state,
    set_state,
    shortened_trigger,
    wait_for,
)

pytestmark = pytest.mark.chaos
FOUR_JOBS = ("cache-warm", "send-reminders", "check-invariants", "service-levels")


def test_every_deployment_has_a_maximum_duration() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed == set(MAX_DURATION)


def test_dead_run_is_ended_in_the_time_that_the_docs_promise() -> None:
    for automation in end_dead_runs():
        assert isinstance(automation.trigger, EventTrigger)
        assert automation.trigger.within == timedelta(seconds=90)
    assert "become Crashed 90 to 100 seconds after their last sign of life" in (ROOT / "docs/jobs.md").read_text()


def test_repeated_setup_creates_each_automation_once(http: httpx.Client) -> None:
    names = [each["name"] for each in post(http, "/automations/filter", {})]
    assert len(names) == len(set(names)) == 5 + len(MAX_DURATION)


async def test_alert_of_a_failed_run_has_its_reason_and_its_link(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    set_state(http, run, "FAILED", "Failed: a.myshopify.com (ShopifyUnauthorized).")
    await wait_for_alert(alerts, "sync-inventory: Failed")
    [alert] = alerts
    assert "ShopifyUnauthorized" in alert
    assert f"/v2/runs/flow-run/{run}" in alert


async def test_completed_run_sends_no_alert(http: httpx.Client, alerts: list[str]) -> None:
    set_state(http, start_run(http, "cache-warm"), "COMPLETED")
    set_state(http, start_run(http, "cache-warm"), "CRASHED", "After the other.")
    await wait_for_alert(alerts, "cache-warm: Crashed")
    assert len(alerts) == 1


@pytest.mark.usefixtures("short_silence")
async def test_run_without_heartbeat_is_crashed_and_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    send_heartbeat(http, run)
    await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, run)["type"] == "CRASHED"
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # its concurrency slot is free


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize(
    "states",
    [
        ["PENDING"],
        ["PENDING", "PENDING Submitting"],
        ["PENDING", "RUNNING"],
        ["PENDING", "RUNNING", "RUNNING Retrying"],
        ["PENDING", "RUNNING", "heartbeat"],
        ["PENDING", "RUNNING", "heartbeat", "RUNNING Stopping"],
        ["PENDING", "RUNNING", "heartbeat", "PAUSED"],
        ["PENDING", "RUNNING", "heartbeat", "SCHEDULED AwaitingRetry"],
    ],
    ids=lambda states: states[-1],
)
async def test_run_that_dies_in_any_state_is_crashed_and_frees_its_slot(http: httpx.Client, states: list[str]) -> None:
    run = create_run(http, deployment_id(http, "sync-inventory"))
    go_through(http, run, states)
    await wait_for(lambda: read_state(http, run)["type"] == "CRASHED")
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # the slot is free


@pytest.mark.usefixtures("short_silence")
async def test_run_that_is_cancelled_and_dies_is_cancelled_and_frees_its_slot(http: httpx.Client) -> None:
    run = create_run(http, deployment_id(http, "sync-inventory"))
    go_through(http, run, ["PENDING", "RUNNING", "heartbeat", "CANCELLING"])
    await wait_for(lambda: read_state(http, run)["type"] == "CANCELLED")
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")


@pytest.mark.usefixtures("short_silence")
async def test_run_with_a_sign_of_life_or_without_a_process_is_not_crashed(http: httpx.Client) -> None:
    flow = post(http, "/flows/", {"name": "in-a-notebook"})["id"]
    in_a_shell = str(post(http, "/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})["id"])
    suspended, rescheduled, alive, dead = (create_run(http, deployment_id(http, name)) for name in FOUR_JOBS)
    go_through(http, in_a_shell, ["RUNNING"])
    go_through(http, suspended, ["PENDING", "RUNNING", "heartbeat", "PAUSED Suspended"])
    go_through(http, rescheduled, ["PENDING", "RUNNING", "heartbeat", "SCHEDULED"])
    go_through(http, alive, ["PENDING", "RUNNING", "heartbeat"])
    go_through(http, dead, ["PENDING", "RUNNING"])
    next_heartbeat = time.monotonic()

    def ended() -> bool:
        nonlocal next_heartbeat
        if time.monotonic() > next_heartbeat:
            send_heartbeat(http, alive)
            next_heartbeat = time.monotonic() + 1
        return bool(read_state(http, dead)["type"] == "CRASHED")

    await wait_for(ended)
    types = [read_state(http, run)["type"] for run in (in_a_shell, suspended, rescheduled, alive)]
    for run in (in_a_shell, suspended, rescheduled, alive):
        set_state(http, run, "FAILED")
    assert types == ["RUNNING", "PAUSED", "SCHEDULED", "RUNNING"]


@pytest.mark.usefixtures("short_silence")
async def test_late_heartbeat_of_a_completed_run_does_not_crash_it(http: httpx.Client, alerts: list[str]) -> None:
    ended = start_run(http, "cache-warm")
    send_heartbeat(http, ended)
    set_state(http, ended, "COMPLETED")
    send_heartbeat(http, ended)  # a late heartbeat
    dead = start_run(http, "sync-inventory")
    send_heartbeat(http, dead)
    await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, ended)["type"] == "COMPLETED"


async def test_late_run_without_a_worker_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    with shortened_trigger(http, "Alert: a job does not start"):
        run = create_run(http, deployment_id(http, "cache-warm"))
        set_state(http, run, "SCHEDULED", name="Late")
        await wait_for_alert(alerts, "cache-warm does not start")
    set_state(http, run, "CANCELLED")


async def test_run_over_its_maximum_duration_sends_an_alert_and_continues(
    http: httpx.Client, alerts: list[str]
) -> None:
    with shortened_trigger(http, "Alert: cache-warm takes too long"):
        run = start_run(http, "cache-warm")
        await wait_for_alert(alerts, "cache-warm is not done after")
    assert read_state(http, run)["type"] == "RUNNING"
    set_state(http, run, "COMPLETED")


def start_run(http: httpx.Client, deployment: str) -> str:
    run = create_run(http, deployment_id(http, deployment))
    set_state(http, run, "PENDING")
    set_state(http, run, "RUNNING")
    return run


def go_through(http: httpx.Client, run: str, states: list[str]) -> None:
    """Set the states, such as `RUNNING` or `RUNNING Retrying`, in order; `heartbeat` sends one."""
    for state in states:
        kind, _, name = state.partition(" ")
        if kind == "heartbeat":
            send_heartbeat(http, run)
        else:
            set_state(http, run, kind, name=name or None)


def send_heartbeat(http: httpx.Client, run: str) -> None:
    heartbeat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [{"prefect.resource.id": "prefect.deployment.any", "prefect.resource.role": "deployment"}],
    }
    http.post("/events", json=[heartbeat]).raise_for_status()


async def wait_for_alert(alerts: list[str], text: str) -> None:
    await wait_for(lambda: any(text in alert for alert in alerts))
