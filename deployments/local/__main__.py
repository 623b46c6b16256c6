"""`python -m deployments.local`: run or stop the local stack, delete its data, or sign a URL of its API."""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import asyncio
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Final

import psutil

from deployments.local.environment import check_settings, ports_from_environment
from deployments.local.monitoring import choose_monitoring_ports
from deployments.local.orphans import find_processes, terminate
from deployments.local.services import Ports
from deployments.local.sign import signed_url
from deployments.local.stack import Stack
from deployments.local.supervisor import StopRequested
from deployments.local.terminal import Terminal
from deployments.local.watchdog import watchdog
from deployments.local.workspace import DEFAULT_FOLDER, Workspace
from deployments.sandbox.processes import ROOT, become_subreaper, choose_port
from wishcraft.errors import ConfigurationError, WishCraftError, is_disk_full

_STOP_SECONDS: Final = 60
_LITTLE_MIB: Final = 100
"""What a full disk has left at most: the program that filled it may have deleted some files."""


def main() -> int:
    """Run the command line and return the exit code: 0 also if Ctrl-C or SIGTERM stopped the stack."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=__doc__)
    parser.add_argument("--folder", type=_folder, default=str(DEFAULT_FOLDER), help="where its data are (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "up",
        help="start PostgreSQL, Valkey, Prefect, a worker, the API, the consumer of webhooks, a simulated Shopify and "
        "mailbox; with the variable MONITORING=1 also Prometheus, Alertmanager and the dashboard; MAIL_PROVIDER=ses or "
        "sendgrid sends by the simulated provider of that name instead of SMTP",
    )
    commands.add_parser("down", help="stop the local stack, from another terminal; its data stays")
    commands.add_parser("reset", help="delete the data and secrets of the local stack")
    signer = commands.add_parser("sign", help="print a URL of the API as Shopify's app proxy signs it")
    signer.add_argument("path", help="below /api, such as `my-registries` or `registries?limit=2`")
    signer.add_argument("--shop", help="domain of the shop; the first demo shop by default")
    signer.add_argument("--customer", type=_customer, help="id of the customer who is logged in; none is a guest")
    arguments = parser.parse_args()
    os.umask(0o077)  # all files of the stack are its owner's alone
    workspace = Workspace(arguments.folder)
    try:
        match arguments.command:
            case "up":
                up(workspace)
            case "down":
                down(workspace)
            case "reset":
                reset(workspace)
            case _:
                print(signed_url(workspace, arguments.path, arguments.shop, arguments.customer))
    except StopRequested:
        return 0
    except (WishCraftError, OSError) as error:
        if is_disk_full(error):
            print(f"{_full_disk(workspace.folder, error)}\n{error}", file=sys.stderr)
        elif isinstance(error, OSError):
            raise
        else:
            print(error, file=sys.stderr)
        return 1
    return 0


def up(workspace: Workspace) -> None:
    """Run the stack until it is stopped. Raises as `Stack.run`."""
    stack_id = uuid.uuid4().hex
    terminal = Terminal()
    with workspace.locked(stack_id) as previous:
        terminate(find_processes(previous), patience=3)  # left by a stack that was killed
        api, prefect = ports_from_environment(workspace.command("up"))
        ports = Ports(
            api=api,
            prefect=prefect,
            shopify=choose_port("The Shopify simulator", None, workspace.folder / "shopify.port"),
            mailbox=choose_port("The mailbox", None, workspace.folder / "mailbox.port"),
            smtp=choose_port("The mail server", None, workspace.folder / "smtp.port"),
            dns=choose_port("The DNS server", None, workspace.folder / "dns.port"),
            bounces=choose_port("The server of bounces", None, workspace.folder / "bounces.port"),
            monitoring=choose_monitoring_ports(workspace, os.environ),
        )
        workspace.check_files()
        check_settings(workspace, stack_id, ports)
        workspace.stack_info.unlink(missing_ok=True)
        become_subreaper()
        terminal.show(f"Starting WishCraft (logs: {workspace.shown(workspace.logs)}) ...")
        with watchdog(stack_id, workspace.stack_info, ROOT):
            asyncio.run(_run(workspace, stack_id, ports, terminal))


async def _run(workspace: Workspace, stack_id: str, ports: Ports, terminal: Terminal) -> None:
    await Stack(workspace, stack_id, ports, terminal).run()


def down(workspace: Workspace) -> None:
    """Stop the stack as Ctrl-C does, and wait for its end.

    Raises:
        ConfigurationError: It has not ended after a minute.
    """
    pid = workspace.holder()
    if pid is None:
        print(f"No local stack runs in {workspace.shown(workspace.folder)}.")
        return
    try:
        stack = psutil.Process(pid)
        stack.terminate()
        stack.wait(_STOP_SECONDS)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        raise ConfigurationError(f"process {pid} still stops after {_STOP_SECONDS} s: see its terminal") from None
    print(f"Stopped the local stack. Its data stays for the next `{workspace.command('up')}`.")


def reset(workspace: Workspace) -> None:
    """Delete the stack's data, if there are any; refused while the stack runs."""
    if not workspace.has_data():
        print(f"There are no data of a local stack in {workspace.shown(workspace.folder)}.")
        return
    file, exported = workspace.prefect_password_file, os.environ.get("PREFECT_API_AUTH_STRING")
    with workspace.locked("") as previous:
        terminate(find_processes(previous), patience=3)
        is_exported = file.exists() and file.read_text().strip() == exported
        workspace.delete_data()
    print(f"Deleted the data of the local stack. `{workspace.command('up')}` creates new data.")
    if is_exported:  # as the examples of the docs do; it would outlive what it was the login of
        print("This shell still has the deleted login of Prefect: run `unset PREFECT_API_AUTH_STRING`, or it stays.")


def _full_disk(folder: Path, error: Exception) -> str:
    """What to do about a disk without space: that of the folder, or another one if the folder's has some left."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    left = shutil.disk_usage(nearest).free / 2**20
    if left >= _LITTLE_MIB:
        whose = "A disk of this machine" if isinstance(error, OSError) else "The disk of PostgreSQL's server"
        return f"{whose} is full: free some space there."
    return f"The disk of {folder} is full ({left:,.0f} MiB left): free some space, or choose another with --folder."


def _folder(text: str) -> Path:
    folder = Path(text).absolute()
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"{nearest} is not a folder")
    return folder


def _customer(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**18):
        raise argparse.ArgumentTypeError("must be the number of a customer, such as 7100000000001")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
