"""PostgreSQL, Valkey and a Shopify simulator without rate limit, filled with demo registries."""

import os
import sys
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
from deployments.sandbox.http_probe import responds
from deployments.sandbox.postgres import postgres, prepare_postgres
from deployments.sandbox.processes import ROOT, Program, free_port, running
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET
from deployments.sandbox.valkey import valkey
from wishcraft.migrations import upgrade
from wishcraft.settings import Settings

REGISTRIES_PER_PRODUCT: Final = 10
FEWEST_PRODUCTS: Final = 160
_COUNT_QUERIES: Final = """
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track_utility = off  # without BEGIN, COMMIT and SET
"""


@dataclass(frozen=True)
class Servers:
    """The running servers."""

    settings: Settings
    shopify: str
    """URL of the simulator."""

    def environment(self) -> dict[str, str]:
        """Environment of a process that uses the servers."""
        return os.environ | settings_environment(self.settings)

    def shopify_requests(self) -> int:
        """Number of GraphQL requests to the simulator so far."""
        counters = [httpx.get(f"{self.shopify}/{shop.domain}/requests").json() for shop in DEMO_SHOPS]
        return sum(counter["requests"] for counter in counters)


@contextmanager
def running_servers(folder: Path, registries: int, *, counts_queries: bool = False) -> Iterator[Servers]:
    """Context manager: run the servers with `registries` registries and a catalogue in proportion.

    With `counts_queries`, PostgreSQL preloads pg_stat_statements.
    """
    if counts_queries:
        prepare_postgres(folder)
        with (folder / "postgres" / "postgresql.conf").open("a") as configuration:
            configuration.write(_COUNT_QUERIES)
    products = max(FEWEST_PRODUCTS, registries // REGISTRIES_PER_PRODUCT)
    with postgres(folder) as database_url, valkey(folder) as redis_url, _simulator(folder, products) as origin:
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
        yield Servers(settings, origin)


@contextmanager
def _simulator(folder: Path, products: int) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ("--port", str(port), "--products", str(products), "--tick", "0", "--no-rate-limit")
    program = Program("shopify", (sys.executable, "-m", "deployments.sandbox.shopify", *arguments), ROOT)
    with running(program, lambda: responds(f"{url}/health"), folder / "shopify.log"):
        yield url
