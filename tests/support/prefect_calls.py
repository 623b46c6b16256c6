"""Requests of tests to a Prefect server, over plain HTTP."""

import asyncio
import time
from collections.abc import Callable, Container
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import httpx

WAIT_SECONDS: Final = 240  # generous, for a loaded machine
POLL_SECONDS: Final = 0.2
"""Between two looks at the server: each takes 10 ms of processor time, which the awaited processes need."""


def post(http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return http.post(path, json=body).raise_for_status().json()


def patch(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    http.patch(path, json=body).raise_for_status()


def deployment_id(http: httpx.Client, name: str) -> str:
    return str(http.get(f"/deployments/name/{name}/{name}").raise_for_status().json()["id"])


def create_run(http: httpx.Client, deployment: str, **parameters: object) -> str:
    """Create a run of the deployment; returns its id."""
    return str(post(http, f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])


def delete_run(http: httpx.Client, run: str) -> None:
    http.delete(f"/flow_runs/{run}").raise_for_status()


def set_state(http: httpx.Client, run: str, state: str, message: str = "", name: str | None = None) -> None:
    body = {"state": {"type": state, "name": name, "message": message}}
    assert post(http, f"/flow_runs/{run}/set_state", body)["status"] == "ACCEPT"


def delete_other_deployments(http: httpx.Client, kept: Container[str]) -> None:
    """Delete the deployments with other names, with what their schedules would start."""
    for deployment in post(http, "/deployments/filter", {}):
        if deployment["name"] not in kept:
            http.delete(f"/deployments/{deployment['id']}").raise_for_status()


def end_unfinished_runs(http: httpx.Client) -> None:
    """Cancel all runs that have not ended, which frees their concurrency slots; no alert follows."""
    unfinished = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]
    for run in post(http, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": unfinished}}}}):
        post(http, f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})


def read_state(http: httpx.Client, run: str) -> dict[str, Any]:
    state: dict[str, Any] = http.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
    return state


def running_shop_tasks(http: httpx.Client, run: str) -> list[str]:
    """Names of the running tasks that work on shops."""
    query = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    return [each["name"] for each in post(http, "/task_runs/filter", query) if not each["name"].startswith("find")]


async def wait_for(condition: Callable[[], bool]) -> None:
    """Poll the condition until it holds; fails after WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(POLL_SECONDS)


def start_run(http: httpx.Client, deployment: str) -> str:
    """Create a run of the deployment and set it to Running; returns its id."""
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
    send_event(http, run, "prefect.flow-run.heartbeat")


def send_event(http: httpx.Client, run: str, name: str) -> None:
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": name,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [{"prefect.resource.id": "prefect.deployment.any", "prefect.resource.role": "deployment"}],
    }
    http.post("/events", json=[event]).raise_for_status()


async def wait_for_alert(alerts: list[str], run: str) -> str:
    """The first alert that links to the run; those of other tests may come late."""
    await wait_for(lambda: any(run in alert for alert in alerts))
    return next(alert for alert in alerts if run in alert)
