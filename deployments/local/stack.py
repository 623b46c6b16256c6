"""The local stack: starts all services in order, supervises them and stops them."""

import asyncio
import os
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Final

import psutil

from deployments.local import monitoring, services
from deployments.local.environment import (
    PREFECT_DATABASE_VARIABLE,
    Stores,
    child_environment,
    create_databases,
    prefect_password,
)
from deployments.local.make_signals import watch_make
from deployments.local.orphans import belongs_to, terminate
from deployments.local.prefect_api import PrefectApi, PrefectUnavailable, now
from deployments.local.services import Ports, module
from deployments.local.stack_info import describe, read_stack_info
from deployments.local.supervisor import READY_SECONDS, Service, StartFailed, Supervisor, wait_until
from deployments.local.terminal import Terminal
from deployments.local.workspace import Workspace, write_private_json
from deployments.sandbox.postgres import confine_analysts, create_analyst_login, enable_query_statistics
from deployments.sandbox.processes import free_port

_FIRST_RUN_SECONDS: Final = 120.0
_FIRST_RUNS_AT_ONCE: Final = 2  # each run is a process that imports Prefect
_ORPHAN_SECONDS: Final = 1.5


class Stack:
    """One run of the stack."""

    def __init__(self, workspace: Workspace, stack_id: str, ports: Ports, terminal: Terminal) -> None:
        """`stack_id` is set in every child's environment, so that orphans can be found."""
        self._workspace = workspace
        self._stack_id = stack_id
        self._ports = ports
        self._terminal = terminal
        self._environment: dict[str, str] = {}
        self._stopping = False
        self._may_have_runs = False
        """Whether Prefect has answered: before, no run of this start can be unfinished."""
        password = prefect_password(workspace, os.environ)
        self._prefect = PrefectApi(f"http://127.0.0.1:{ports.prefect}/api", password)
        self._supervisor = Supervisor(terminal, workspace.logs, self._update_stack_info)

    async def run(self) -> None:
        """Start all services, supervise them until a signal, and stop them in any case.

        Raises:
            StopRequested: A signal was received.
            StartFailed, ConfigurationError: A service did not start.
        """
        self._supervisor.install_signal_handlers()
        listening = asyncio.create_task(watch_make(self._supervisor.interrupt))
        try:
            await self._supervisor.run(self._start())
            await self._supervisor.run(self._supervise())
        finally:
            self._stopping = True
            self._workspace.stack_info.unlink(missing_ok=True)
            with self._terminal.timed("Stopped"):
                await self._supervisor.stop()
            await self._prefect.aclose()
            listening.cancel()

    async def _start(self) -> None:
        stores = await self._start_stores()
        self._environment = child_environment(self._workspace, self._stack_id, self._ports, stores)
        await _gather(self._start_application(), self._start_jobs())
        await self._run_due_jobs()
        # Last: before, jobs of yesterday would be alerts.
        await _gather(*(self._start_service(*each) for each in self._monitoring()))

    async def _supervise(self) -> None:
        self._supervisor.enable_restarts()
        self._update_stack_info(ready=True)
        self._terminal.show(describe(read_stack_info(self._workspace, self._environment)))
        await asyncio.Event().wait()

    async def _start_stores(self) -> Stores:
        """Start PostgreSQL and Valkey unless the environment names servers; return the URLs."""
        folder = self._workspace.folder
        database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
        if redis_url:
            await services.check_redis(redis_url, os.environ.get("REDIS_PASSWORD"))
        else:
            with self._terminal.timed("Valkey ready"):
                service, redis_url = services.valkey(folder)
                await self._supervisor.start(service)
            await services.begin_era(redis_url)
        names = () if os.environ.get(PREFECT_DATABASE_VARIABLE) else ("prefect",)
        if database_url:
            await asyncio.to_thread(create_databases, database_url, names)
            return Stores(database_url, os.environ.get("DATABASE_REPLICA_URL"), redis_url)
        with self._terminal.timed("PostgreSQL ready"):
            service, server_url = await asyncio.to_thread(services.postgres, folder)
            await self._supervisor.start(service)
        await asyncio.to_thread(create_databases, server_url, ("wishcraft", *names))
        database_url = server_url.removesuffix("/postgres") + "/wishcraft"
        await asyncio.to_thread(enable_query_statistics, database_url)
        replica_url = await asyncio.to_thread(create_analyst_login, server_url, "wishcraft")
        await asyncio.to_thread(confine_analysts, database_url)
        return Stores(database_url, replica_url, redis_url)

    async def _start_application(self) -> None:
        await _gather(
            self._start_service("Shopify simulator ready", self._shopify()),
            self._start_service("Mailbox ready", self._mailbox()),
            self._prepare_database(),
        )
        consumer = services.webhooks(self._environment, self._workspace.folder / "webhooks.heartbeat")
        await _gather(
            self._start_service("API ready", services.api(self._environment, self._ports.api)),
            self._start_service("Consumer of webhooks ready", consumer),
        )
        await services.check_api(read_stack_info(self._workspace, self._environment))

    async def _prepare_database(self) -> None:
        await self._run_once("Schema up to date", "migrations", "wishcraft.migrations", "upgrade")
        await self._run_once("Demo data ready", "demo", "deployments.sandbox.demo", "--card", str(self._workspace.demo))

    def _shopify(self) -> Service:
        return services.shopify(self._environment, self._ports, self._workspace.folder / "shopify.json")

    def _mailbox(self) -> Service:
        return services.mailbox(self._environment, self._ports, self._workspace.folder / "mailbox.jsonl")

    def _monitoring(self) -> list[tuple[str, Service]]:
        """The services of MONITORING=1, each with its title."""
        return monitoring.services(self._workspace, self._environment, self._ports) if self._ports.monitoring else []

    async def _start_jobs(self) -> None:
        """Start Prefect, and what imports it and then waits for it: the set-up, and the worker, also for the pool."""
        worker = services.worker(self._environment, self._prefect, self._terminate_orphaned_runs)
        await _gather(
            self._start_prefect(),
            self._run_once("Flows deployed", "setup", "deployments.prefect_setup"),
            self._start_service("Worker ready", worker),
        )

    async def _start_prefect(self) -> None:
        began = now()
        server = services.prefect(self._environment, self._ports.prefect, self._prefect)
        await _gather(self._start_service("Prefect ready", server), self._refuse_another_prefect())
        self._may_have_runs = True
        await self._crash_unfinished_runs("The local stack was killed during this run.", began, pool_only=False)

    async def _refuse_another_prefect(self) -> None:
        """Raise StartFailed if what answers at the port of Prefect does not know the login: another stack took it."""
        await wait_until(self._prefect.is_healthy, READY_SECONDS)
        if await self._prefect.refuses_login():
            raise StartFailed(
                f"another Prefect answers on {self._ports.prefect}, with another login: stop it, or choose a port, e.g."
                f" `PREFECT_PORT={free_port()} {self._workspace.command('up')}`"
            )

    async def _run_due_jobs(self) -> None:
        free = asyncio.Semaphore(_FIRST_RUNS_AT_ONCE)

        async def run(name: str, deployment: str) -> None:
            async with free:
                state = await self._prefect.run_deployment(deployment, _FIRST_RUN_SECONDS)
            self._terminal.show(f"  {name}: {state.name}{state.message and ': '}{state.message}")

        with self._terminal.timed("Due jobs run"):
            await _gather(*(run(*each) for each in (await self._prefect.list_due_jobs()).items()))
        if paused := await self._prefect.list_paused_jobs():
            advice = "Deployments in the Prefect UI resumes a schedule"
            self._terminal.show(f"! paused, as before this start: {', '.join(paused)}; {advice}")

    async def _terminate_orphaned_runs(self) -> None:
        """Terminate the flow-run processes that the worker left, and set their runs to Crashed."""
        known = self._supervisor.pids()
        children = await asyncio.to_thread(psutil.Process().children)
        orphans = [child for child in children if child.pid not in known and belongs_to(child, self._stack_id)]
        await asyncio.to_thread(terminate, orphans, _ORPHAN_SECONDS)
        reason = "The stack was stopped." if self._stopping else "The worker process of this run died."
        await self._crash_unfinished_runs(reason, now(), pool_only=not self._stopping)

    async def _crash_unfinished_runs(self, message: str, before: datetime, *, pool_only: bool) -> None:
        try:
            count = await self._prefect.crash_unfinished_runs(message, before, pool_only=pool_only)
        except PrefectUnavailable as error:
            if self._may_have_runs:
                self._terminal.show(f"! {error}; unfinished runs are set to Crashed at the next start")
            return
        if count:
            self._terminal.show(f"! {count} unfinished run(s) set to Crashed: {message}")

    async def _start_service(self, title: str, service: Service) -> None:
        with self._terminal.timed(title):
            await self._supervisor.start(service)

    async def _run_once(self, title: str, name: str, *arguments: str) -> None:
        with self._terminal.timed(title):
            await self._supervisor.run_once(module(name, self._environment, *arguments))

    def _update_stack_info(self, ready: bool) -> None:
        if ready:
            write_private_json(self._workspace.stack_info, read_stack_info(self._workspace, self._environment))
        else:
            self._workspace.stack_info.unlink(missing_ok=True)


async def _gather(*work: Coroutine[Any, Any, None]) -> None:
    """Run the coroutines concurrently; the first failure cancels the others and is raised unwrapped."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
