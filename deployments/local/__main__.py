"""`python -m deployments.local`: start the local stack and watch over it, or delete what it keeps."""

import argparse
import asyncio
import sys
import uuid

from deployments.local.environment import port_from_environment
from deployments.local.orphans import end, find_marked
from deployments.local.services import Ports
from deployments.local.stack import Stack
from deployments.local.supervisor import Stopped
from deployments.local.terminal import Terminal
from deployments.local.watchdog import watched
from deployments.local.workspace import ROOT, Workspace
from deployments.sandbox.processes import become_subreaper, choose_port
from wishcraft.errors import WishCraftError


def main() -> int:
    """Run the command line and return the exit code: 0 also for a stop that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start PostgreSQL, Valkey, Prefect, a worker, the API and a simulated Shopify")
    commands.add_parser("reset", help="delete the data and secrets of the local stack")
    command = parser.parse_args().command
    workspace = Workspace(ROOT / ".wishcraft")
    try:
        up(workspace) if command == "up" else reset(workspace)
    except (Stopped, KeyboardInterrupt):
        return 0
    except WishCraftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def up(workspace: Workspace) -> None:
    """Start the stack and return, by an exception, when it has stopped; see `Stack.live`."""
    mark = uuid.uuid4().hex
    terminal = Terminal()
    with workspace.locked(mark) as previous:
        end(find_marked(previous), patience=3)  # of a stack that was killed a moment ago
        ports = Ports(
            api=port_from_environment("API_PORT", 8000),
            prefect=port_from_environment("PREFECT_PORT", 4200),
            shopify=choose_port("The Shopify simulator", None, workspace.folder / "shopify.port"),
            mailbox=choose_port("The mailbox", None, workspace.folder / "mailbox.port"),
            smtp=choose_port("The mail server", None, workspace.folder / "smtp.port"),
        )
        workspace.board.unlink(missing_ok=True)
        become_subreaper()
        terminal.say("Starting WishCraft (its logs: .wishcraft/logs) ...")
        with watched(mark, workspace.board, ROOT):
            asyncio.run(_live(workspace, mark, ports, terminal))


async def _live(workspace: Workspace, mark: str, ports: Ports, terminal: Terminal) -> None:
    await Stack(workspace, mark, ports, terminal).live()


def reset(workspace: Workspace) -> None:
    """Delete what the stack keeps; refused while it runs."""
    with workspace.locked("") as previous:
        end(find_marked(previous), patience=3)
        workspace.wipe()
    print("Deleted the local stack's data. `make up` starts afresh.")


if __name__ == "__main__":
    sys.exit(main())
