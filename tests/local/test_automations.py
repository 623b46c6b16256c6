"""The automations on a real Prefect server: dead runs are crashed and alerts are sent."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
import yaml

from deployments.automations import MAX_DURATION
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


def test_every_deployment_has_a_maximum_duration() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed == set(MAX_DURATION)


def test_repeated_setup_creates_each_automation_once(http: httpx.Client) -> None:
    names = [each["name"] for each in post(http, "/automations/filter", {})]
    assert len(names) == len(set(names)) == 4 + len(MAX_DURATION)


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


async def test_run_without_heartbeat_is_crashed_and_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    with shortened_trigger(http, "Mark runs whose process died"):
        run = start_run(http, "sync-inventory")
        send_heartbeat(http, run)
        await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, run)["type"] == "CRASHED"
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # its concurrency slot is free


async def test_run_that_dies_before_its_first_heartbeat_is_crashed(http: httpx.Client, alerts: list[str]) -> None:
    with shortened_trigger(http, "Mark runs whose process died"):
        run = start_run(http, "sync-inventory")
        await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, run)["type"] == "CRASHED"


async def test_late_heartbeat_of_a_completed_run_does_not_crash_it(http: httpx.Client, alerts: list[str]) -> None:
    with shortened_trigger(http, "Mark runs whose process died"):
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


def send_heartbeat(http: httpx.Client, run: str) -> None:
    heartbeat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    http.post("/events", json=[heartbeat]).raise_for_status()


async def wait_for_alert(alerts: list[str], text: str) -> None:
    await wait_for(lambda: any(text in alert for alert in alerts))
