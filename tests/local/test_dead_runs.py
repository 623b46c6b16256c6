"""Runs without a sign of life are ended and free their slot, in any state."""

import time

import httpx
import pytest

from tests.local.conftest import deploy
from tests.support.prefect_calls import (
    create_run,
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
DEATHS = [
    (["PENDING"], "CRASHED"),
    (["PENDING", "PENDING Submitting"], "CRASHED"),
    (["PENDING", "RUNNING"], "CRASHED"),
    (["PENDING", "RUNNING", "RUNNING Retrying"], "CRASHED"),
    (["PENDING", "RUNNING", "heartbeat"], "CRASHED"),
    (["PENDING", "RUNNING", "heartbeat", "RUNNING Stopping"], "CRASHED"),
    (["PENDING", "RUNNING", "heartbeat", "PAUSED"], "CRASHED"),
    (["PENDING", "RUNNING", "heartbeat", "SCHEDULED AwaitingRetry"], "CRASHED"),
    (["PENDING", "RUNNING", "heartbeat", "CANCELLING"], "CANCELLED"),
]
"""What a run went through before it died, and how it is ended."""


async def test_run_without_heartbeat_is_crashed_and_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    send_heartbeat(http, run)
    assert "sync-inventory: Crashed" in await wait_for_alert(alerts, run)
    assert read_state(http, run)["type"] == "CRASHED"
    set_state(http, start_run(http, "sync-inventory"), "COMPLETED")  # its concurrency slot is free


async def test_run_that_dies_in_any_state_is_ended_and_frees_its_slot(http: httpx.Client) -> None:
    jobs = [deploy_job(http) for _ in DEATHS]
    runs = [create_run(http, job) for job in jobs]
    for run, (states, _) in zip(runs, DEATHS, strict=True):
        go_through(http, run, states)

    def found() -> list[tuple[list[str], str]]:
        return [(states, read_state(http, run)["type"]) for run, (states, _) in zip(runs, DEATHS, strict=True)]

    await wait_for(lambda: all(state in {"CRASHED", "CANCELLED"} for _, state in found()))
    assert found() == DEATHS
    for job in jobs:
        set_state(http, create_run(http, job), "PENDING")  # accepted only with a free slot


async def test_run_that_lives_has_no_process_or_has_ended_is_not_crashed(http: httpx.Client) -> None:
    flow = post(http, "/flows/", {"name": "in-a-notebook"})["id"]
    in_a_shell = str(post(http, "/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})["id"])
    suspended, rescheduled, ended, alive, *dead = (create_run(http, deploy_job(http)) for _ in range(6))
    go_through(http, in_a_shell, ["RUNNING"])
    go_through(http, suspended, ["PENDING", "RUNNING", "heartbeat", "PAUSED Suspended"])
    go_through(http, rescheduled, ["PENDING", "RUNNING", "heartbeat", "SCHEDULED"])
    go_through(http, ended, ["PENDING", "RUNNING", "heartbeat", "COMPLETED", "heartbeat"])  # a late one
    go_through(http, alive, ["PENDING", "RUNNING", "heartbeat"])
    go_through(http, dead[0], ["PENDING", "RUNNING"])
    go_through(http, dead[1], ["PENDING", "RUNNING", "heartbeat"])
    next_heartbeat = time.monotonic()

    def are_crashed() -> bool:
        nonlocal next_heartbeat
        if time.monotonic() > next_heartbeat:
            send_heartbeat(http, alive)
            next_heartbeat = time.monotonic() + 1
        return all(read_state(http, run)["type"] == "CRASHED" for run in dead)

    await wait_for(are_crashed)
    types = [read_state(http, run)["type"] for run in (in_a_shell, suspended, rescheduled, ended, alive)]
    assert types == ["RUNNING", "PAUSED", "SCHEDULED", "COMPLETED", "RUNNING"]


def deploy_job(http: httpx.Client) -> str:
    """A deployment with room for one run."""
    return deploy(http, "mortal", "flows.cache_warm.cache_warm")
