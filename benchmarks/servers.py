"""PostgreSQL, Valkey and a Shopify simulator without rate limits, filled with as many registries as asked for."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis import Redis

from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.demo import DEFAULT_SEED, seed
from deployments.sandbox.environment import settings_environment
from deployments.sandbox.postgres import postgres, prepare_postgres
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET
from deployments.sandbox.valkey import valkey
from wishcraft.migrations import upgrade
from wishcraft.settings import Settings

REGISTRIES_PER_PRODUCT: Final = 10
FEWEST_PRODUCTS: Final = 160
_COUNT_QUERIES: Final = """
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track_utility = off  # BEGIN, COMMIT and SET answer nothing
"""


@dataclass(frozen=True)
class Running:
    """The servers, filled."""

    settings: Settings
    shopify: str
    """The simulator's address."""

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use them."""
        return os.environ | settings_environment(self.settings)

    def shopify_requests(self) -> int:
        """How many GraphQL requests the simulator has had."""
        counters = [httpx.get(f"{self.shopify}/{shop.domain}/requests").json() for shop in DEMO_SHOPS]
        return sum(counter["requests"] for counter in counters)


@contextmanager
def running_servers(folder: Path, registries: int, *, counts_queries: bool = False) -> Iterator[Running]:
    """The servers with as many registries, and a catalogue that grows with them; they end with the context.

    With `counts_queries` PostgreSQL can be given the extension pg_stat_statements.
    """
    if counts_queries:
        prepare_postgres(folder)
        with (folder / "postgres" / "postgresql.conf").open("a") as configuration:
            configuration.write(_COUNT_QUERIES)
    products = max(FEWEST_PRODUCTS, registries // REGISTRIES_PER_PRODUCT)
    with postgres(folder) as database_url, valkey(folder) as redis_url, _simulator(products) as origin:
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            encryption_keys=SecretStr(Fernet.generate_key().decode()),
            shopify_api_key=API_KEY,
            shopify_api_secret=SecretStr(API_SECRET),
            shopify_origin=f"{origin}/{{shop}}",
        )
        upgrade(settings.database_url)
        seed(settings, registries, DEFAULT_SEED, datetime.now(UTC).date(), products)
        with Redis.from_url(settings.redis_url) as redis:
            redis.config_set("maxmemory", 0)
        yield Running(settings, origin)


@contextmanager
def _simulator(products: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--products", str(products), "--tick", "0", "--no-rate-limit"]
    with subprocess.Popen([sys.executable, "-m", "deployments.sandbox.shopify", *arguments]) as process:  # noqa: S603
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)
