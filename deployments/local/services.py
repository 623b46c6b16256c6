"""The stack's programs: how each is run, and how to see that it is ready. The order is `stack.py`'s."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from deployments.local.prefect_api import PrefectApi, now
from deployments.local.supervisor import STOP_SECONDS, Service, StartFailed
from deployments.local.workspace import ROOT
from deployments.sandbox.postgres import prepare_postgres
from deployments.sandbox.processes import Program
from deployments.sandbox.valkey import prepare_valkey
from wishcraft.errors import ConfigurationError

STARTED_FIRST_STOPPED_LAST: Final = ("postgres", "valkey", "prefect", "shopify", "mailbox", "api", "worker")
DRAIN_SECONDS: Final = 3.0
"""For the worker's runs to come to the end of a batch, of the ten in which the stack is to be gone."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts that people open listen, on 127.0.0.1; and, at `smtp`, the mail server."""

    api: int
    prefect: int
    shopify: int
    mailbox: int
    smtp: int

    def __post_init__(self) -> None:
        if self.api == self.prefect:
            raise ConfigurationError(f"API_PORT and PREFECT_PORT are both {self.api}: choose another for one of them")


def postgres(folder: Path) -> tuple[Service, str]:
    """The embedded PostgreSQL and its URL; raises `ConfigurationError` if it cannot be had."""
    server = prepare_postgres(folder)
    return _service(server.program, lambda: asyncio.to_thread(server.ready)), server.url


def valkey(folder: Path) -> tuple[Service, str]:
    """The embedded Valkey and its URL; raises `ConfigurationError` if it cannot be had."""
    server = prepare_valkey(folder)
    return _service(server.program, lambda: asyncio.to_thread(server.ready)), server.url


def prefect(environment: Mapping[str, str], port: int, client: PrefectApi) -> Service:
    """Prefect's server with its UI."""
    arguments = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    return _service(module("prefect", environment, *arguments), client.answers)


def shopify(environment: Mapping[str, str], port: int, tokens: Path) -> Service:
    """The Shopify simulator; in the file `tokens` it remembers those that the application holds."""
    arguments = ("deployments.sandbox.shopify", "--port", str(port), "--state", str(tokens))
    program = module("shopify", environment, *arguments)
    return _service(program, _http_ready(f"http://127.0.0.1:{port}/health"))


def mailbox(environment: Mapping[str, str], port: int, smtp_port: int, mail: Path) -> Service:
    """The mail server that delivers nothing, and its page; the file `mail` is what it keeps."""
    ports = ("--port", str(port), "--smtp-port", str(smtp_port))
    arguments = ("deployments.sandbox.mailbox", *ports, "--state", str(mail))
    return _service(module("mailbox", environment, *arguments), _http_ready(f"http://127.0.0.1:{port}/health"))


def api(environment: Mapping[str, str], port: int) -> Service:
    """The storefront's API."""
    return _service(module("api", environment, "api"), _http_ready(f"http://127.0.0.1:{port}/health/liveness"))


def worker(environment: Mapping[str, str], client: PrefectApi, after_end: Callable[[], Awaitable[None]]) -> Service:
    """The worker that runs the flows; `after_end` is to deal with what its end cuts off."""
    program = module("worker", environment, "deployments.worker", "--name", "local", "--patience", str(DRAIN_SECONDS))
    began = now()
    service = _service(program, lambda: client.worker_is_online(since=began), after_end=after_end)
    return replace(service, stop_seconds=DRAIN_SECONDS + STOP_SECONDS)


async def read_a_registry(board: Mapping[str, Any]) -> None:
    """Read the registry that the board will invite to read.

    It shows that the API can do its work, and begins the time for which a cache that has just started takes no fills.

    Raises:
        StartFailed: The answer is not what it should be.
    """
    shop = next((shop for shop in board["shops"] if shop["registries"]), None)
    if shop is None:
        return
    url = f"{board['api']}/api/registries/{shop['registries'][0]}"
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(url, headers={"X-API-Key": shop["api_key"]})
    if not answer.is_success:
        raise StartFailed(f"the API answered {answer.status_code} to GET {url}: {answer.text[:200]}")


def module(name: str, environment: Mapping[str, str], *arguments: str) -> Program:
    """The program `python -m <arguments>` of this very Python, in the checkout."""
    return Program(name, (sys.executable, "-m", *arguments), cwd=ROOT, env=environment)


async def _nothing() -> None:
    """What most services leave to be done after their end."""


def _service(
    program: Program, ready: Callable[[], Awaitable[bool]], after_end: Callable[[], Awaitable[None]] = _nothing
) -> Service:
    return Service(program, STARTED_FIRST_STOPPED_LAST.index(program.name), ready, after_end)


def _http_ready(url: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
                return (await client.get(url)).is_success
        except httpx.HTTPError:
            return False

    return ready
