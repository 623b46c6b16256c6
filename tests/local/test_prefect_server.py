"""Behaviour of a real Prefect server that the stack relies on."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from deployments.local.prefect_api import PrefectApi, PrefectUnavailable, now
from deployments.sandbox.processes import ROOT
from tests.local.conftest import deploy
from tests.support.prefect_calls import create_run, patch, post, read_state, set_state, wait_for

pytestmark = pytest.mark.chaos
NOTHING = "flows.nothing"
"""The entry point of a deployment whose runs no worker takes."""
DAILY = {"active": True, "schedule": {"interval": 86_400}}
"""A schedule whose next turn is a day away, also while the test waits."""


def test_repeated_setup_keeps_the_queue_priorities(http: httpx.Client) -> None:
    queues = post(http, "/work_pools/wishcraft/queues/filter", {})
    assert {queue["name"]: queue["priority"] for queue in queues} == {"critical": 1, "default": 2, "bulk": 3}


async def test_crashed_run_frees_its_concurrency_slot_at_once(http: httpx.Client, environment: dict[str, str]) -> None:
    deployment = deploy(http, "slotted", NOTHING)
    first, second = create_run(http, deployment), create_run(http, deployment)
    assert _propose(http, first, "PENDING") == "ACCEPT"
    assert _propose(http, first, "RUNNING") == "ACCEPT"
    assert _propose(http, second, "PENDING") != "ACCEPT"
    api = PrefectApi(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    assert await api.crash_unfinished_runs("The worker died.", now(), pool_only=True) == 1
    await api.aclose()
    assert read_state(http, first)["message"] == "The worker died."
    assert _propose(http, second, "PENDING") == "ACCEPT"


async def test_all_unfinished_runs_are_crashed_however_many_pages_they_fill(
    http: httpx.Client, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wishcraft.services.operations.prefect_api.PAGE", 2)
    deployment = deploy(http, "many", NOTHING, concurrency_limit=None)
    [name] = [each["name"] for each in post(http, "/deployments/filter", {}) if each["id"] == deployment]
    runs = [create_run(http, deployment) for _ in range(5)]
    for run in runs:
        set_state(http, run, "PENDING")
    api = PrefectApi(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    assert await api.crash_unfinished_runs("The worker died.", now(), pool_only=True) == len(runs)
    assert {read_state(http, run)["type"] for run in runs} == {"CRASHED"}
    assert {name, "cache-warm"} <= set(await api.list_due_jobs())
    await api.aclose()


async def test_run_outside_the_pool_is_not_crashed_while_the_stack_runs(
    http: httpx.Client, environment: dict[str, str]
) -> None:
    run = create_run(http, deploy(http, "in-a-notebook", NOTHING, work_pool_name=None))
    assert _propose(http, run, "RUNNING") == "ACCEPT"
    api = PrefectApi(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    await api.crash_unfinished_runs("The worker died.", now(), pool_only=True)
    assert read_state(http, run)["type"] == "RUNNING"
    assert await api.crash_unfinished_runs("The stack was stopped.", now(), pool_only=False) > 0
    assert read_state(http, run)["type"] == "CRASHED"
    await api.aclose()


async def test_run_that_began_after_the_start_of_the_stack_is_not_crashed_by_it(
    http: httpx.Client, environment: dict[str, str]
) -> None:
    began = now()
    run = create_run(http, deploy(http, "just-begun", NOTHING))
    assert _propose(http, run, "RUNNING") == "ACCEPT"
    api = PrefectApi(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    await api.crash_unfinished_runs("The stack was killed.", began, pool_only=False)
    assert read_state(http, run)["type"] == "RUNNING"
    await api.crash_unfinished_runs("The stack was killed.", now(), pool_only=False)
    assert read_state(http, run)["type"] == "CRASHED"
    await api.aclose()


async def test_scheduled_runs_are_created(http: httpx.Client) -> None:
    deployment = deploy(http, "daily", NOTHING, schedules=[DAILY], work_pool_name=None)
    query = {"deployments": {"id": {"any_": [deployment]}}}
    await wait_for(lambda: any(run["auto_scheduled"] for run in post(http, "/flow_runs/filter", query)))


async def test_start_runs_the_jobs_that_have_not_run_since_their_last_turn(
    http: httpx.Client, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = PrefectApi(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    deployment = deploy(http, "daily", NOTHING, schedules=[DAILY], work_pool_name=None)

    async def is_due() -> bool:
        due = await api.list_due_jobs()
        assert "cache-warm" in due
        return deployment in due.values()

    assert await is_due()
    await wait_for(lambda: len(post(http, "/flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}})) > 2)
    for state, expected in (("FAILED", True), ("COMPLETED", False)):
        run = create_run(http, deployment)
        for each in ("PENDING", "RUNNING", state):
            set_state(http, run, each)
        assert await is_due() is expected, state
    later = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr("deployments.local.prefect_api.now", lambda: later)
    assert await is_due()
    [name] = [each["name"] for each in post(http, "/deployments/filter", {}) if each["id"] == deployment]
    assert name not in await api.list_paused_jobs()
    patch(http, f"/deployments/{deployment}", {"paused": True})
    assert not await is_due()  # an operator does not want it
    assert name in await api.list_paused_jobs()
    await api.aclose()


@pytest.mark.parametrize("credentials", [None, ("ops", "guessed"), ("", "")])
def test_request_without_the_password_can_only_read_the_health(
    credentials: tuple[str, str] | None, environment: dict[str, str]
) -> None:
    with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=credentials, trust_env=False) as client:
        for path in ("/deployments/filter", "/flow_runs/filter", "/block_documents/filter", "/variables/filter"):
            assert client.post(path, json={}).status_code == HTTPStatus.UNAUTHORIZED
        assert client.get("/health").is_success


def test_websocket_without_the_password_can_neither_send_nor_read_events(environment: dict[str, str]) -> None:
    address = environment["PREFECT_API_URL"].replace("http", "ws", 1)
    for path in ("events/in", "events/out", "logs/out"):
        with pytest.raises((InvalidStatus, ConnectionClosed)), connect(f"{address}/{path}", proxy=None) as socket:
            socket.recv(timeout=20)


async def test_server_refuses_a_wrong_password(environment: dict[str, str]) -> None:
    api = PrefectApi(environment["PREFECT_API_URL"], "ops:guessed")
    assert await api.is_healthy()
    with pytest.raises(PrefectUnavailable, match="401"):
        await api.list_due_jobs()
    await api.aclose()


@pytest.mark.parametrize("command", ["deployments.prefect_setup", "deployments.worker"])
def test_command_names_the_setting_of_a_login_that_prefect_refuses(command: str, environment: dict[str, str]) -> None:
    ended = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-m", command],
        env=environment | {"PREFECT_API_AUTH_STRING": "ops:guessed", "REDIS_URL": "redis://127.0.0.1:1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Prefect refuses the login: set PREFECT_API_AUTH_STRING" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_ui_requires_the_password(environment: dict[str, str]) -> None:
    assert (
        httpx.get(f"{environment['PREFECT_SERVER_CORS_ALLOWED_ORIGINS']}/ui-settings", trust_env=False).json()["auth"]
        == "BASIC"
    )


def _propose(http: httpx.Client, run: str, state: str) -> str:
    return str(post(http, f"/flow_runs/{run}/set_state", {"state": {"type": state}})["status"])


def test_repeated_setup_changes_nothing_and_keeps_paused_schedules(
    http: httpx.Client, environment: dict[str, str]
) -> None:
    [job] = [each for each in post(http, "/deployments/filter", {}) if each["name"] == "cache-warm"]
    [schedule] = job["schedules"]
    patch(http, f"/deployments/{job['id']}/schedules/{schedule['id']}", {"active": False})
    patch(http, f"/deployments/{job['id']}", {"description": "Changed by hand."})
    before = deployments(http)
    subprocess.run([sys.executable, "-m", "deployments.prefect_setup"], check=True, env=environment, cwd=ROOT)
    after = deployments(http)
    assert [name for name in after if _is_rewritten(before[name], after[name])] == ["cache-warm"]
    assert after["cache-warm"]["description"] != "Changed by hand."
    assert [each["active"] for each in after["cache-warm"]["schedules"]] == [False]


def _is_rewritten(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a deployment was updated by something else than the server itself, which notes polls and their lack."""
    polls = [(each["status"], each["last_polled"]) for each in (before, after)]
    return before["description"] != after["description"] or (
        before["updated"] != after["updated"] and polls[0] == polls[1]
    )


def deployments(http: httpx.Client) -> dict[str, Any]:
    """All deployments by name."""
    return {each["name"]: each for each in post(http, "/deployments/filter", {})}
