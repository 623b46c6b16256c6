"""Runs without a sign of life are ended and free their slot, in any state."""

import time

import httpx
import pytest

from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    go_through,
    post,
    read_state,
    send_heartbeat,
    set_state,
    start_run,
    wait_for,
    wait_for_alert,
)

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("short_silence")]
FOUR_JOBS = ("cache-warm", "send-reminders", "check-invariants", "service-levels")


async def test_run_without_heartbeat_is_crashed_and_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    send_heartbeat(http, run)
    await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, run)["type"] == "CRASHED"
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # its concurrency slot is free


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


async def test_run_that_is_cancelled_and_dies_is_cancelled_and_frees_its_slot(http: httpx.Client) -> None:
    run = create_run(http, deployment_id(http, "sync-inventory"))
    go_through(http, run, ["PENDING", "RUNNING", "heartbeat", "CANCELLING"])
    await wait_for(lambda: read_state(http, run)["type"] == "CANCELLED")
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")


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


async def test_late_heartbeat_of_a_completed_run_does_not_crash_it(http: httpx.Client, alerts: list[str]) -> None:
    ended = start_run(http, "cache-warm")
    send_heartbeat(http, ended)
    set_state(http, ended, "COMPLETED")
    send_heartbeat(http, ended)  # a late heartbeat
    dead = start_run(http, "sync-inventory")
    send_heartbeat(http, dead)
    await wait_for_alert(alerts, "sync-inventory: Crashed")
    assert read_state(http, ended)["type"] == "COMPLETED"
