"""The services of the stack: their commands and readiness checks. `stack.py` starts them."""

import asyncio
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import SecretStr

from deployments.argument_types import between
from deployments.local.prefect_api import PrefectApi, now
from deployments.local.supervisor import STOP_SECONDS, Service, StartFailed
from deployments.sandbox.http_probe import responds
from deployments.sandbox.postgres import prepare_postgres
from deployments.sandbox.processes import ROOT, Program
from deployments.sandbox.shopify.shopping import MAX_RATE
from deployments.sandbox.valkey import prepare_valkey
from wishcraft.cache.client import connect
from wishcraft.errors import CacheUnavailable, ConfigurationError

START_ORDER: Final = (
    *("postgres", "valkey", "prefect", "shopify", "mailbox", "api", "webhooks", "worker"),
    *("alertmanager", "prometheus", "monitoring"),
)
ADVICE_ON_URL: Final = "correct the URL, or unset it: `make up` then starts a server of its own"
DRAIN_SECONDS: Final = 3.0
"""Time for the worker's runs to finish their batch; the whole stack must stop within 10 s."""

SHOPPING_RATE: Final = "8"
"""Things that the simulator's guests do per minute; about a quarter of them are orders."""


@dataclass(frozen=True, slots=True)
class MonitoringPorts:
    """Ports on 127.0.0.1 of Prometheus, Alertmanager and the page that draws the dashboard."""

    prometheus: int
    alertmanager: int
    page: int


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports on 127.0.0.1 of the HTTP services and of the servers of SMTP and LMTP (TCP) and DNS (UDP)."""

    api: int
    prefect: int
    shopify: int
    mailbox: int
    smtp: int
    dns: int
    bounces: int
    monitoring: MonitoringPorts | None = None

    def __post_init__(self) -> None:
        if self.api == self.prefect:
            raise ConfigurationError(f"API_PORT and PREFECT_PORT are both {self.api}: change one of them")


def postgres(folder: Path) -> tuple[Service, str]:
    """The embedded PostgreSQL and its URL.

    Raises:
        ConfigurationError: As `prepare_postgres`.
    """
    server = prepare_postgres(folder)
    return service_of(server.program, lambda: asyncio.to_thread(server.ready)), server.url


def valkey(folder: Path) -> tuple[Service, str]:
    """The embedded Valkey and its URL.

    Raises:
        ConfigurationError: As `prepare_valkey`.
    """
    server = prepare_valkey(folder)
    return service_of(server.program, lambda: asyncio.to_thread(server.ready)), server.url


def prefect(environment: Mapping[str, str], port: int, client: PrefectApi) -> Service:
    """Prefect's server with its UI."""
    arguments = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    return service_of(module("prefect", environment, *arguments), client.is_healthy)


def shopping_rate(environment: Mapping[str, str]) -> str:
    """SHOPPING_RATE, or its default.

    Raises:
        ConfigurationError: It is not a number within the bounds.
    """
    text = environment.get("SHOPPING_RATE") or SHOPPING_RATE
    try:
        between(float, 0.0, MAX_RATE)(text)
    except ArgumentTypeError as error:
        raise ConfigurationError(f"SHOPPING_RATE {error}, not {text!r}") from None
    return text


def shopify(environment: Mapping[str, str], ports: Ports, tokens: Path) -> Service:
    """The Shopify simulator, whose guests shop at the API; it keeps the issued tokens in the file `tokens`."""
    options = {
        "--port": str(ports.shopify),
        "--state": str(tokens),
        "--app": f"http://127.0.0.1:{ports.api}",
        "--actions-per-minute": shopping_rate(environment),
        # Stock follows the guests' orders; each tick, three variants of a shop change as by what is sold elsewhere.
        "--tick": "300",
    }
    arguments = [text for option in options.items() for text in option]
    program = module("shopify", environment, "deployments.sandbox.shopify", *arguments)
    return service_of(program, http_ready(f"http://127.0.0.1:{ports.shopify}/health"))


def mailbox(environment: Mapping[str, str], ports: Ports, mail: Path) -> Service:
    """The mail server that delivers nothing, with the simulated providers and the DNS of its domain.

    It keeps its messages in the file `mail`.
    """
    options = {
        "--port": ports.mailbox,
        "--smtp-port": ports.smtp,
        "--dns-port": ports.dns,
        "--bounces": f"127.0.0.1:{ports.bounces}",
        "--state": mail,
        "--events": f"http://127.0.0.1:{ports.api}/api/mail-events",
    }
    arguments = [str(text) for option in options.items() for text in option]
    program = module("mailbox", environment, "deployments.sandbox.mailbox", *arguments)
    return service_of(program, http_ready(f"http://127.0.0.1:{ports.mailbox}/health"))


def api(environment: Mapping[str, str], port: int) -> Service:
    """The storefront's API."""
    return service_of(module("api", environment, "api"), http_ready(f"http://127.0.0.1:{port}/health/liveness"))


def webhooks(environment: Mapping[str, str], heartbeat: Path) -> Service:
    """The consumer of webhooks; it touches the file `heartbeat`."""
    began = time.time()
    arguments = ("deployments.webhooks", "--drain", "2", "--heartbeat", str(heartbeat))

    def is_touched() -> bool:
        return heartbeat.exists() and heartbeat.stat().st_mtime >= began

    return service_of(module("webhooks", environment, *arguments), lambda: asyncio.to_thread(is_touched))


def worker(environment: Mapping[str, str], client: PrefectApi, on_exit: Callable[[], Awaitable[None]]) -> Service:
    """The worker that runs the flows; `on_exit` cleans up after its interrupted runs."""
    program = module("worker", environment, "deployments.worker", "--name", "local", "--patience", str(DRAIN_SECONDS))
    began = now()
    service = service_of(program, lambda: client.worker_is_online(since=began), on_exit=on_exit)
    return replace(service, stop_seconds=DRAIN_SECONDS + STOP_SECONDS)


async def begin_era(redis_url: str) -> None:
    """Let Redis begin an era, if it has none: it takes no cache entry for 15 s after that, and `cache-warm` waits."""
    server = connect(redis_url)
    try:
        await server.learn_era()
    finally:
        await server.close()


async def check_redis(redis_url: str, password: str | None) -> None:
    """Ask the server of REDIS_URL, before anything that needs it is started.

    Raises:
        ConfigurationError: It does not answer, or refuses the login or the database.
    """
    server = connect(redis_url, SecretStr(password) if password else None, timeout=5)
    try:
        await server.memory()
    except CacheUnavailable as error:
        raise ConfigurationError(f"cannot use the server of REDIS_URL: {error}; {ADVICE_ON_URL}") from error
    finally:
        await server.close()


async def check_api(info: Mapping[str, Any]) -> None:
    """Read one registry, as the printed `curl` example does.

    Raises:
        StartFailed: The API answered with an error.
    """
    shop = next((shop for shop in info["shops"] if shop["registries"]), None)
    if shop is None:
        return
    url = f"{info['api']}/api/registries/{shop['registries'][0]}"
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(url, headers={"X-API-Key": shop["api_key"]})
    if not answer.is_success:
        raise StartFailed(f"the API answered {answer.status_code} to GET {url}: {answer.text[:200]}")


def module(name: str, environment: Mapping[str, str], *arguments: str) -> Program:
    """The program `python -m <arguments>` with this Python interpreter, in the checkout."""
    return Program(name, (sys.executable, "-m", *arguments), cwd=ROOT, env=environment)


async def _no_action() -> None:
    """Default `on_exit`."""


def service_of(
    program: Program, ready: Callable[[], Awaitable[bool]], on_exit: Callable[[], Awaitable[None]] = _no_action
) -> Service:
    """The program as a service, with its place in the order of the stack."""
    return Service(program, START_ORDER.index(program.name), ready, on_exit)


def http_ready(url: str) -> Callable[[], Awaitable[bool]]:
    """A readiness check: whether GET `url` succeeds."""
    return lambda: asyncio.to_thread(responds, url)
