"""The local stack's table of contents: what is started in which order, kept up, and stopped."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, Final

import psutil

from deployments.local import services
from deployments.local.environment import Stores, children_environment, create_databases
from deployments.local.make_signals import when_make_is_interrupted
from deployments.local.orphans import end, is_marked
from deployments.local.prefect_api import PrefectApi, PrefectUnavailable
from deployments.local.services import Ports, module
from deployments.local.stack_info import describe, read_board
from deployments.local.supervisor import Service, Supervisor, wait_until
from deployments.local.terminal import Terminal
from deployments.local.workspace import Workspace, write_private_json
from deployments.sandbox.postgres import keep_query_statistics, let_analysts_in

_FIRST_RUN_SECONDS: Final = 120.0
_FIRST_RUNS_AT_ONCE: Final = 2  # each is a process that imports Prefect
_ORPHAN_SECONDS: Final = 1.5


class Stack:
    """One stack, from its first child to its last."""

    def __init__(self, workspace: Workspace, mark: str, ports: Ports, terminal: Terminal) -> None:
        """`mark` is put into every child's environment, so that none can get lost."""
        self._workspace = workspace
        self._mark = mark
        self._ports = ports
        self._terminal = terminal
        self._environment: dict[str, str] = {}
        self._stopping = False
        password = os.environ.get("PREFECT_API_AUTH_STRING")
        self._prefect = PrefectApi(f"http://127.0.0.1:{ports.prefect}/api", password)
        self._supervisor = Supervisor(terminal, workspace.logs, self._update_board)

    async def live(self) -> None:
        """Start everything, keep it up until a signal comes, and stop it, whatever happened.

        Raises:
            Stopped: A signal came.
            StartFailed, ConfigurationError: A part did not start.
        """
        self._supervisor.listen_to_signals()
        listening = asyncio.create_task(when_make_is_interrupted(self._supervisor.interrupt))
        try:
            await self._supervisor.run(self._start())
            await self._supervisor.run(self._stay_up())
        finally:
            self._stopping = True
            self._workspace.board.unlink(missing_ok=True)
            with self._terminal.timed("Stopped"):
                await self._supervisor.stop()
            await self._prefect.aclose()
            listening.cancel()

    async def _start(self) -> None:
        stores = await self._start_stores()
        self._environment = children_environment(self._workspace, self._mark, self._ports, stores)
        await _together(self._start_application(), self._start_jobs())
        await self._run_every_job()

    async def _stay_up(self) -> None:
        self._supervisor.keep_up()
        self._update_board(ready=True)
        self._terminal.say(describe(read_board(self._workspace, self._environment)))
        await asyncio.Event().wait()

    async def _start_stores(self) -> Stores:
        """Start what the environment does not name, and return where PostgreSQL and Redis are."""
        folder = self._workspace.folder
        database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
        if redis_url is None:
            with self._terminal.timed("Valkey ready"):
                service, redis_url = services.valkey(folder)
                await self._supervisor.start(service)
        names = () if "PREFECT_API_DATABASE_CONNECTION_URL" in os.environ else ("prefect",)
        if database_url is not None:
            await asyncio.to_thread(create_databases, database_url, names)
            return Stores(database_url, os.environ.get("DATABASE_REPLICA_URL"), redis_url)
        with self._terminal.timed("PostgreSQL ready"):
            service, server_url = await asyncio.to_thread(services.postgres, folder)
            await self._supervisor.start(service)
        await asyncio.to_thread(create_databases, server_url, ("wishcraft", *names))
        database_url = server_url.removesuffix("/postgres") + "/wishcraft"
        await asyncio.to_thread(keep_query_statistics, database_url)
        replica_url = await asyncio.to_thread(let_analysts_in, server_url, "wishcraft")
        return Stores(database_url, replica_url, redis_url)

    async def _start_application(self) -> None:
        await self._once("Schema up to date", "migrations", "wishcraft.migrations", "upgrade")
        await _together(
            self._up("Shopify simulator ready", self._shopify()),
            self._up("Mailbox ready", self._mailbox()),
            self._once("Demo data ready", "demo", "deployments.sandbox.demo"),
        )
        await self._up("API ready", services.api(self._environment, self._ports.api))
        await services.read_a_registry(read_board(self._workspace, self._environment))

    def _shopify(self) -> Service:
        return services.shopify(self._environment, self._ports.shopify, self._workspace.folder / "shopify.json")

    def _mailbox(self) -> Service:
        mail = self._workspace.folder / "mailbox.jsonl"
        return services.mailbox(self._environment, self._ports.mailbox, self._ports.smtp, mail)

    async def _start_jobs(self) -> None:
        await _together(self._start_prefect(), self._once("Flows deployed", "setup", "deployments.prefect_setup"))

    async def _start_prefect(self) -> None:
        """Start Prefect and the worker, while the set-up creates the pool and then deploys the flows."""
        await self._up("Prefect ready", services.prefect(self._environment, self._ports.prefect, self._prefect))
        await self._crash_unfinished_runs("The stack that ran this was killed.", of_the_pool=False)
        await wait_until(self._prefect.has_pool)
        worker = services.worker(self._environment, self._prefect, self._end_what_the_worker_left)
        await self._up("Worker ready", worker)

    async def _run_every_job(self) -> None:
        free = asyncio.Semaphore(_FIRST_RUNS_AT_ONCE)

        async def run(name: str, deployment: str) -> None:
            async with free:
                outcome = await self._prefect.run(deployment, _FIRST_RUN_SECONDS)
            self._terminal.say(f"  {name}: {outcome.name}{outcome.message and ': '}{outcome.message}")

        with self._terminal.timed("Each job run once"):
            await _together(*(run(*each) for each in (await self._prefect.jobs()).items()))

    async def _end_what_the_worker_left(self) -> None:
        """End the worker's flow-run processes, which came to us as orphans, and close the books on their runs."""
        known = self._supervisor.pids()
        children = await asyncio.to_thread(psutil.Process().children)
        orphans = [child for child in children if child.pid not in known and is_marked(child, self._mark)]
        await asyncio.to_thread(end, orphans, _ORPHAN_SECONDS)
        reason = "The stack was stopped." if self._stopping else "The worker that ran this has died."
        await self._crash_unfinished_runs(reason, of_the_pool=not self._stopping)

    async def _crash_unfinished_runs(self, message: str, *, of_the_pool: bool) -> None:
        try:
            count = await self._prefect.crash_unfinished_runs(message, of_the_pool=of_the_pool)
        except PrefectUnavailable as error:
            self._terminal.say(f"! {error}; unfinished runs are set to Crashed when the stack starts next")
            return
        if count:
            self._terminal.say(f"! {count} unfinished run(s) set to Crashed: {message}")

    async def _up(self, title: str, service: Service) -> None:
        with self._terminal.timed(title):
            await self._supervisor.start(service)

    async def _once(self, title: str, name: str, *arguments: str) -> None:
        with self._terminal.timed(title):
            await self._supervisor.run_once(module(name, self._environment, *arguments))

    def _update_board(self, ready: bool) -> None:
        if ready:
            write_private_json(self._workspace.board, read_board(self._workspace, self._environment))
        else:
            self._workspace.board.unlink(missing_ok=True)


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
