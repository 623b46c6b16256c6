"""The automations on a real Prefect server: dead runs end, and alerts arrive."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
import yaml

from deployments.automations import TIME_FOR
from deployments.local.workspace import ROOT
from tests.support.prefect_calls import becomes, create_run, deployment_id, hastened, post, set_state, state_of

pytestmark = pytest.mark.chaos


def test_every_deployment_has_a_time() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed == set(TIME_FOR)


def test_the_automations_are_there_once_although_the_set_up_ran_twice(http: httpx.Client) -> None:
    names = [each["name"] for each in post(http, "/automations/filter", {})]
    assert len(names) == len(set(names)) == 4 + len(TIME_FOR)


async def test_a_run_that_fails_is_told_with_its_reason_and_its_page(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    set_state(http, run, "FAILED", "Failed: a.myshopify.com (ShopifyUnauthorized).")
    await told(alerts, "sync-inventory: Failed")
    [alert] = alerts
    assert "ShopifyUnauthorized" in alert
    assert f"/v2/runs/flow-run/{run}" in alert


async def test_a_run_that_ends_well_is_not_told(http: httpx.Client, alerts: list[str]) -> None:
    set_state(http, start_run(http, "cache-warm"), "COMPLETED")
    set_state(http, start_run(http, "cache-warm"), "CRASHED", "After the other.")
    await told(alerts, "cache-warm: Crashed")
    assert len(alerts) == 1


async def test_a_run_that_gives_no_sign_of_life_is_crashed_and_told(http: httpx.Client, alerts: list[str]) -> None:
    with hastened(http, "Mark runs whose process died"):
        run = start_run(http, "sync-inventory")
        beat(http, run)
        await told(alerts, "sync-inventory: Crashed")
    assert state_of(http, run)["type"] == "CRASHED"
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # its slot is free


async def test_a_run_that_dies_before_its_first_heartbeat_is_crashed(http: httpx.Client, alerts: list[str]) -> None:
    with hastened(http, "Mark runs whose process died"):
        run = start_run(http, "sync-inventory")
        await told(alerts, "sync-inventory: Crashed")
    assert state_of(http, run)["type"] == "CRASHED"


async def test_a_run_that_ended_is_not_missed(http: httpx.Client, alerts: list[str]) -> None:
    with hastened(http, "Mark runs whose process died"):
        ended = start_run(http, "cache-warm")
        beat(http, ended)
        set_state(http, ended, "COMPLETED")
        beat(http, ended)  # the last one came late
        dead = start_run(http, "sync-inventory")
        beat(http, dead)
        await told(alerts, "sync-inventory: Crashed")
    assert state_of(http, ended)["type"] == "COMPLETED"


async def test_a_run_that_no_worker_takes_is_told(http: httpx.Client, alerts: list[str]) -> None:
    with hastened(http, "Alert: a job does not start"):
        run = create_run(http, deployment_id(http, "cache-warm"))
        set_state(http, run, "SCHEDULED", name="Late")
        await told(alerts, "cache-warm does not start")
    set_state(http, run, "CANCELLED")


async def test_a_run_that_is_not_done_in_its_time_is_told_and_goes_on(http: httpx.Client, alerts: list[str]) -> None:
    with hastened(http, "Alert: cache-warm takes too long"):
        run = start_run(http, "cache-warm")
        await told(alerts, "cache-warm is not done after")
    assert state_of(http, run)["type"] == "RUNNING"
    set_state(http, run, "COMPLETED")


def start_run(http: httpx.Client, deployment: str) -> str:
    run = create_run(http, deployment_id(http, deployment))
    set_state(http, run, "PENDING")
    set_state(http, run, "RUNNING")
    return run


def beat(http: httpx.Client, run: str) -> None:
    heartbeat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    http.post("/events", json=[heartbeat]).raise_for_status()


async def told(alerts: list[str], text: str) -> None:
    await becomes(lambda: any(text in alert for alert in alerts))
