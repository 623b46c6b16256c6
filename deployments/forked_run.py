"""Starts flow runs as forks of a process that has imported Prefect and every flow: in a tenth of the time.

A new interpreter takes seconds of CPU for these imports, more than most runs take for their work. The forking process
is the standard library's fork server: it has one thread, opens no connection, and runs nothing but imports.
"""

import atexit
import gc
import multiprocessing
import os
import pkgutil
import runpy
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any, Final, cast

from anyio import TASK_STATUS_IGNORED, to_thread, wait_readable
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.runner._control_channel import ControlChannel
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope
from prefect.settings import get_current_settings
from prefect.utilities.processutils import sanitize_subprocess_env

_ENGINE: Final = "prefect.engine"
_FLOWS: Final = Path(__file__).resolve().parents[1] / "flows"
_FORKS: Final = multiprocessing.get_context("forkserver")
_MAX_TMPDIR_BYTES: Final = 107 - len("/pymp-12345678/listener-12345678")
"""The path of a Unix socket has at most 107 bytes in Linux."""
_SERVER_DIED: Final = 255
"""The exit code that `multiprocessing` makes up when the fork server died: its fork may still run."""


def start_fork_server() -> None:
    """Start the process that imports and forks; it ends with this one. Its runs inherit the environment of now."""
    _FORKS.set_forkserver_preload(list_imports())  # without "__main__", the default
    _choose_socket_folder()
    forkserver.ensure_running()


def _choose_socket_folder() -> None:
    """Make the folder for the fork server's socket where its path is short enough, if it is not under TMPDIR."""
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _MAX_TMPDIR_BYTES:
        tempfile.tempdir = "/tmp"  # noqa: S108  the new folder in it is for this user alone
    get_temp_dir()  # multiprocessing keeps it for all later sockets
    tempfile.tempdir = before


def list_imports() -> list[str]:
    """The modules that the fork server imports: Prefect's engine for flows, and every flow."""
    flows = sorted(each.name for each in pkgutil.iter_modules([str(_FLOWS)]) if not each.ispkg)
    return ["prefect.flow_engine", __name__, *(f"flows.{name}" for name in flows)]


class ForkStarter:
    """Start of a flow run's process: the part that Prefect's `EngineCommandStarter` has in its own worker."""

    def __init__(
        self, entrypoint: str, folder: str, environment: Mapping[str, str | None], control_channel: ControlChannel
    ) -> None:
        """`environment` overrides this process's; None removes a variable."""
        self._entrypoint = entrypoint
        self._folder = folder
        self._environment = environment
        self._control_channel = control_channel

    async def start(self, flow_run: FlowRun, task_status: TaskStatus[ProcessHandle] = TASK_STATUS_IGNORED) -> None:
        """Start the process, pass on its handle, and wait until it exits."""
        try:
            port, token = self._control_channel.register(flow_run.id)
            control = {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        except RuntimeError:  # it has no port; Prefect then kills a cancelled run without asking it to end
            control = {}
        environment: dict[str, str | None] = {
            **os.environ,
            **get_current_settings().to_environment_variables(exclude_unset=True),
            **self._environment,
            **control,
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__FLOW_ENTRYPOINT": self._entrypoint,
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",  # the worker calls them
        }
        process = await to_thread.run_sync(_fork, sanitize_subprocess_env(environment), self._folder)
        scope = create_isolated_termination_scope(cast("int", process.pid))
        handle = ProcessHandle(cast("Any", process), scope)  # Prefect names the class of another start method
        task_status.started(handle)
        try:
            await wait_readable(process.sentinel)  # in no thread: there are forty, and a worker may have more runs
            process.join()
        finally:
            with suppress(ProcessLookupError):
                if process.exitcode in {None, _SERVER_DIED}:
                    handle.hard_kill()


def _fork(environment: Mapping[str, str], folder: str) -> ForkServerProcess:
    """Start the process of a run; return once it leads a process group of its own, which signals are sent to."""
    receiver, sender = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_run_engine, args=(sender, dict(environment), folder))
    process.start()
    sender.close()
    with receiver, suppress(EOFError):  # it died
        receiver.recv_bytes()
    return process


def _run_engine(ready: Connection, environment: dict[str, str], folder: str) -> None:
    """Do in a fork what `python -m prefect.engine` does."""
    gc.freeze()  # collecting what was imported would copy its pages into this process, and free nothing
    os.setsid()
    ready.send_bytes(b"ready")
    ready.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [_ENGINE]  # the worker's has options
    sys.modules.pop(_ENGINE, None)  # as in a new interpreter, it runs as `__main__` before others import it
    try:
        runpy.run_module(_ENGINE, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001  multiprocessing exits without them; Prefect's logs are sent in one
