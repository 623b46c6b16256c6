"""The API and the worker on a read-only file system with a writable temporary folder, as in the image."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from deployments.sandbox.http_probe import responds
from deployments.sandbox.processes import ROOT, free_port
from tests.support.container_image import image_environment
from tests.support.optional import skip_or_fail
from tests.support.prefect_calls import create_run, deployment_id, read_state, wait_for

Start = Callable[..., None]
PROBE = ["unshare", "-rm", "true"]
CONFINED = """
mount --make-rprivate / && mount -t tmpfs tmpfs "$1" && mount -o remount,ro,bind / || exit 99
touch "$1/writable" || exit 98
touch "$1.not" 2>/dev/null && exit 97
shift
exec "$@"
"""
pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]


@pytest.fixture
def start(job_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a module with the image's variables and stops it after the test."""
    if subprocess.run(PROBE, check=False, capture_output=True).returncode != 0:  # noqa: S603  the text above
        skip_or_fail("namespaces", "this machine does not allow unprivileged mount namespaces")
    folder = tmp_path_factory.mktemp("t")  # short: the path of a socket has at most 107 bytes
    environment = job_environment | image_environment(folder) | {"TMPDIR": str(folder)}
    environment.pop("PREFECT_PROFILES_PATH")  # the image sets none
    with ExitStack() as running:

        def start(*arguments: str, **variables: str) -> None:
            running.enter_context(confined(folder, arguments, environment | variables))

        yield start


@contextmanager
def confined(folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> Iterator[None]:
    """Run the module with a file system that is read-only except `folder`."""
    command = ["unshare", "-rm", "sh", "-c", CONFINED, "sh", str(folder), sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)  # noqa: S603  our own modules
    yield
    process.terminate()
    process.wait(60)


async def test_api_becomes_ready_on_a_read_only_file_system(start: Start) -> None:
    port = free_port()
    start("api", API_HOST="127.0.0.1", API_PORT=str(port), DRAIN_SECONDS="0")
    await wait_for(lambda: responds(f"http://127.0.0.1:{port}/health/readiness"))


async def test_worker_completes_a_run_on_a_read_only_file_system(start: Start, http: httpx.Client) -> None:
    start("deployments.worker", "--name", "confined", "--patience", "20")
    run = create_run(http, deployment_id(http, "cache-warm"))
    await wait_for(lambda: read_state(http, run)["type"] == "COMPLETED")
