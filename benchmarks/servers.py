"""PostgreSQL, Valkey and a Shopify simulator without rate limits, filled with as many registries as asked for."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography.fernet import Fernet
from pydantic import SecretStr

from deployments.sandbox.demo import DEFAULT_SEED, seed
from deployments.sandbox.postgres import postgres
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET
from deployments.sandbox.valkey import valkey
from wishcraft.migrations import upgrade
from wishcraft.settings import Settings


@contextmanager
def running_servers(folder: Path, registries: int) -> Iterator[Settings]:
    """Settings that name the servers, which end with the context."""
    with postgres(folder) as database_url, valkey(folder) as redis_url, _simulator() as origin:
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            encryption_keys=SecretStr(Fernet.generate_key().decode()),
            shopify_api_key=API_KEY,
            shopify_api_secret=SecretStr(API_SECRET),
            shopify_origin=f"{origin}/{{shop}}",
        )
        upgrade(settings.database_url)
        seed(settings, registries, DEFAULT_SEED, datetime.now(UTC).date())
        yield settings


@contextmanager
def _simulator() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--tick", "0", "--no-rate-limit"]
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
