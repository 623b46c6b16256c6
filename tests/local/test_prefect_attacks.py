"""Attacks on a real Prefect server and worker: commands, variables, folders, pull steps, and foreign web pages."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.workers.process import ProcessWorker

from tests.support.prefect_calls import create_run, deployment_id, patch, post, read_state, set_state, wait_for
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]
OPEN_TEMPLATE = ProcessWorker.get_default_base_job_template()
FOREIGN = ("https://evil.example", "http://127.0.0.1:9", "null")


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """The file that each attack tries to create, and that no test may find at its end."""
    yield tmp_path / "planted"
    assert not (tmp_path / "planted").exists()


def overrides(planted: Path) -> list[dict[str, Any]]:
    """Job variables that would create the file, or direct a run elsewhere."""
    command = f"sh -c 'touch {planted}'"
    return [
        {"command": command},
        {"env": {"PYTHONSTARTUP": "/elsewhere"}},
        {"env.PREFECT_API_URL": "https://evil.example/api"},
        {"working_dir": "/"},
        {"command": command, "stream_output": False},
    ]


@pytest.mark.parametrize("place", range(5))
def test_server_refuses_a_run_that_overrides_its_process(http: httpx.Client, planted: Path, place: int) -> None:
    variables = {"job_variables": overrides(planted)[place]}
    job = deployment_id(http, "cache-warm")
    run = create_run(http, job)
    automation = {
        "name": "attack",
        "trigger": {"type": "event", "expect": ["nothing"], "posture": "Reactive", "threshold": 1, "within": 0},
        "actions": [{"type": "run-deployment", "source": "selected", "deployment_id": job, **variables}],
    }
    answers = [
        http.post(f"/deployments/{job}/create_flow_run", json=variables),
        http.patch(f"/flow_runs/{run}", json=variables),
        http.post("/deployments/", json=deployment(http, "attack", **variables)),
        http.post("/automations/", json=automation),
    ]
    set_state(http, run, "CANCELLED")  # before a worker takes it
    assert [answer.status_code for answer in answers] == [HTTPStatus.UNPROCESSABLE_ENTITY] * len(answers)


async def test_worker_ignores_overrides_that_a_changed_work_pool_permits(
    http: httpx.Client, start_worker: Callable[..., Worker], planted: Path
) -> None:
    [pool] = post(http, "/work_pools/filter", {"work_pools": {"name": {"any_": ["wishcraft"]}}})
    attack = {"command": f"sh -c 'touch {planted}'", "env": {"ATTACK": "1"}, "working_dir": "/"}
    patch(http, "/work_pools/wishcraft", {"base_job_template": OPEN_TEMPLATE})
    try:
        job = post(http, "/deployments/", deployment(http, "overridden", job_variables=attack))["id"]
        worker = start_worker()
        run = str(post(http, f"/deployments/{job}/create_flow_run", {"job_variables": attack})["id"])
        await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
        assert worker.stop() == 0
    finally:
        patch(http, "/work_pools/wishcraft", {"base_job_template": pool["base_job_template"]})
    command, folder, names = read_state(http, run)["message"].split("|")
    assert "multiprocessing.forkserver" in command
    assert folder != "/"
    assert "ATTACK" not in names.split()


async def test_worker_refuses_pull_steps_and_files_as_flows(
    http: httpx.Client, start_worker: Callable[..., Worker], planted: Path
) -> None:
    script = planted.with_suffix(".py")
    script.write_text(f"open({str(planted)!r}, 'w')\ndef flow(): pass\n")
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {planted}"}}
    attacks: list[dict[str, Any]] = [{"pull_steps": [shell]}, {"entrypoint": f"{script}:flow"}, {"entrypoint": None}]
    worker = start_worker()
    for number, attack in enumerate(attacks):
        job = post(http, "/deployments/", deployment(http, f"attack-{number}", **attack))["id"]
        run = create_run(http, job)
        await wait_for(lambda run=run: read_state(http, run)["type"] == "CRASHED")  # type: ignore[misc]
        assert "only flows of installed modules, without pull steps" in read_state(http, run)["message"]
    assert worker.stop() == 0


async def test_pull_steps_added_after_the_check_run_nothing(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str, planted: Path
) -> None:
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {planted}"}}
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: read_state(http, run)["type"] == "RUNNING")
    patch(http, f"/deployments/{slow_job}", {"pull_steps": [shell]})
    [child] = [run for server in worker.process.children() for run in server.children()]
    child.kill()  # the hooks of the crash load the flow again
    await wait_for(lambda: read_state(http, run)["type"] == "CRASHED")
    assert worker.stop() == 0


class TestEnvironment:
    @pytest.fixture
    def job_environment(self, job_environment: dict[str, str]) -> dict[str, str]:
        """The environment of a machine with other secrets."""
        return job_environment | {"AWS_SECRET_ACCESS_KEY": "1", "METRICS_TOKEN": "2", "SSH_AUTH_SOCK": "3"}

    async def test_run_has_only_the_variables_that_it_needs(
        self, http: httpx.Client, start_worker: Callable[..., Worker], job_environment: dict[str, str]
    ) -> None:
        job = post(http, "/deployments/", deployment(http, "environment"))["id"]
        worker = start_worker()
        run = create_run(http, job)
        await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
        assert worker.stop() == 0
        names = set(read_state(http, run)["message"].split("|")[2].split())
        server = {name for name in job_environment if name.startswith("PREFECT_SERVER_")}
        assert "PREFECT_SERVER_API_AUTH_STRING" in server
        assert not names & (server | {"AWS_SECRET_ACCESS_KEY", "METRICS_TOKEN", "SSH_AUTH_SOCK"})
        assert {"PATH", "DATABASE_URL", "REDIS_URL", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"} <= names


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_web_page_can_neither_call_prefect_nor_read_its_answers(
    http: httpx.Client, environment: dict[str, str], origin: str
) -> None:
    path = f"/deployments/{deployment_id(http, 'cache-warm')}/create_flow_run"
    asking = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    with httpx.Client(base_url=environment["PREFECT_API_URL"], trust_env=False) as page:
        assert page.post(path, json={}, headers={"Origin": origin}).status_code == HTTPStatus.UNAUTHORIZED
        assert page.options(path, headers=asking).status_code == HTTPStatus.BAD_REQUEST
    answer = http.post("/deployments/filter", json={}, headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    own = environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    answer = http.post("/deployments/filter", json={}, headers={"Origin": own})
    assert answer.headers["access-control-allow-origin"] == own


def test_page_of_a_name_that_is_rebound_to_loopback_has_no_password(
    http: httpx.Client, environment: dict[str, str]
) -> None:
    path = f"/deployments/{deployment_id(http, 'cache-warm')}/create_flow_run"
    rebound = {"Host": "evil.example:4200", "Origin": "http://evil.example:4200"}
    with httpx.Client(base_url=environment["PREFECT_API_URL"], trust_env=False) as page:
        assert page.post(path, json={}, headers=rebound).status_code == HTTPStatus.UNAUTHORIZED


def deployment(http: httpx.Client, name: str, **options: Any) -> dict[str, Any]:
    """The body that creates a deployment of `environment_job`."""
    body = {
        "name": name,
        "flow_id": post(http, "/flows/", {"name": "environment-job"})["id"],
        "entrypoint": "tests.support.environment_job.environment_job",
        "work_pool_name": "wishcraft",
    }
    return body | options
