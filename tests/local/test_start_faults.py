"""What ends a start of the local stack, or its stop, is said in a line with what to do, and not as a traceback."""

import errno
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from deployments.local.__main__ import main, up
from deployments.local.prefect_api import PrefectApi
from deployments.local.services import Ports
from deployments.local.stack import Stack
from deployments.local.supervisor import StartFailed
from deployments.local.terminal import Terminal
from deployments.local.workspace import Workspace
from deployments.sandbox.processes import ROOT, free_port
from tests.support.fake_prefect import PASSWORD, USER, FakePrefect
from tests.support.http_server import served
from wishcraft.errors import ConfigurationError, WishCraftError

PORTS = Ports(1, 2, 3, 4, 5, 6, 7)
FULL = StartFailed("migrations exited with code 1:\n  disk full: could not extend file: No space left on device")


@pytest.mark.parametrize("error", [FULL, OSError(errno.ENOSPC, "No space left on device")])
def test_full_disk_is_said_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: WishCraftError | OSError
) -> None:
    monkeypatch.setattr("sys.argv", ["local", "--folder", str(tmp_path), "up"])
    monkeypatch.setattr("deployments.local.__main__.up", Mock(side_effect=error))
    monkeypatch.setattr("shutil.disk_usage", lambda _: Mock(free=99 * 2**20))
    assert main() == 1
    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first.startswith(f"The disk of {tmp_path} is full (99 MiB left)")
    assert "No space left on device" in rest


@pytest.mark.parametrize(
    ("error", "disk"),
    [
        (FULL, "The disk of PostgreSQL's server is full:"),
        (OSError(errno.ENOSPC, "No space left on device"), "A disk of this machine is full:"),
    ],
)
def test_full_disk_is_not_that_of_a_folder_with_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, disk: str
) -> None:
    monkeypatch.setattr("sys.argv", ["local", "--folder", str(tmp_path), "up"])
    monkeypatch.setattr("deployments.local.__main__.up", Mock(side_effect=error))
    monkeypatch.setattr("shutil.disk_usage", lambda _: Mock(free=100 * 2**20))
    assert main() == 1
    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first.startswith(disk)
    assert rest == f"{error}\n"


@pytest.mark.parametrize("name", ["secrets.json", "shopify.json"])
@pytest.mark.parametrize("content", ["garbage", "", "[]", "\xff"])
def test_damaged_json_of_the_stack_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.setenv("API_PORT", str(free_port()))
    monkeypatch.setenv("PREFECT_PORT", str(free_port()))
    monkeypatch.setattr("deployments.local.__main__.watchdog", None)  # the first of the processes
    (tmp_path / name).write_text(content, "latin-1")
    with pytest.raises(ConfigurationError, match=rf"{name} is not the JSON that the stack wrote: .* reset`$"):
        up(Workspace(tmp_path))


@pytest.mark.parametrize(("password", "is_another"), [("of:another stack", True), (f"{USER}:{PASSWORD}", False)])
async def test_prefect_of_another_stack_on_the_same_port_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, is_another: bool
) -> None:
    stack = Stack(Workspace(tmp_path), "some", PORTS, Terminal())
    with served(FakePrefect().app) as address:
        monkeypatch.setattr(stack, "_prefect", PrefectApi(address, password))
        if is_another:
            with pytest.raises(StartFailed, match=r"^another Prefect answers on 2, .*`PREFECT_PORT=\d+ .* up`$"):
                await stack._refuse_another_prefect()
        else:
            await stack._refuse_another_prefect()
        await stack._prefect.aclose()


async def test_stop_says_nothing_of_unfinished_runs_before_there_can_be_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(Workspace(tmp_path), "some", PORTS, Terminal())
    await stack._terminate_orphaned_runs()
    assert capsys.readouterr().out == ""
    stack._may_have_runs = True
    await stack._terminate_orphaned_runs()
    assert "unfinished runs are set to Crashed at the next start" in capsys.readouterr().out
    await stack._prefect.aclose()


@pytest.mark.parametrize(
    ("command", "says"), [("reset", "There are no data of a local stack"), ("down", "No local stack runs")]
)
def test_fresh_clone_installs_nothing_to_say_that_there_is_no_stack(tmp_path: Path, command: str, says: str) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = subprocess.run(  # noqa: S603  ours
        ["make", "--no-print-directory", command],  # noqa: S607
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(says)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
