"""Looks at everything that the service stands on, and says how well it stands."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel
from sqlalchemy import text

from wishcraft.resources import Resources
from wishcraft.settings import Settings

PATIENCE_SECONDS: Final = 1.0
MEMORY_LIMIT_SHARE: Final = 0.9
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


class Status(StrEnum):
    """How something is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Check(BaseModel):
    """One part's state; `detail` is for people and holds no address and no secret."""

    status: Status
    detail: str
    milliseconds: float


class Health(BaseModel):
    """The whole and its parts: `database`, `redis`, `memory`, `environment`, `prefect`."""

    status: Status
    checks: dict[str, Check]


class NotWellError(Exception):
    """Raised by a check with what is wrong."""


async def examine(resources: Resources, settings: Settings) -> Health:
    """Look at all parts at once; a part that does not answer within `PATIENCE_SECONDS` is unhealthy."""
    looks: dict[str, Callable[[], Awaitable[str]]] = {
        "database": lambda: _database(resources),
        "redis": lambda: _redis(resources),
        "memory": _memory,
        "environment": lambda: _environment(settings),
        "prefect": lambda: _prefect(resources, settings),
    }
    checks = dict(zip(looks, await asyncio.gather(*map(_check, looks.values())), strict=True))
    return Health(status=overall({name: check.status for name, check in checks.items()}), checks=checks)


def overall(checks: Mapping[str, Status]) -> Status:
    """Unhealthy if registries cannot be served: both stores are away, or a setting is wrong. Else as the worst part."""
    both_away = {checks["database"], checks["redis"]} == {Status.UNHEALTHY}
    if both_away or checks["environment"] is Status.UNHEALTHY:
        return Status.UNHEALTHY
    return Status.HEALTHY if set(checks.values()) == {Status.HEALTHY} else Status.DEGRADED


async def _check(look: Callable[[], Awaitable[str]]) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, detail = Status.HEALTHY, await look()
    except NotWellError as error:
        status, detail = Status.DEGRADED, str(error)
    except TimeoutError:
        status, detail = Status.UNHEALTHY, f"no answer within {PATIENCE_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding; its text may name hosts and users
        status, detail = Status.UNHEALTHY, type(error).__name__
    return Check(status=status, detail=detail, milliseconds=round(1000 * (time.perf_counter() - started), 1))


async def _database(resources: Resources) -> str:
    async with resources.db.snapshot() as session:
        revision = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
    return f"answers, at revision {revision}"


async def _redis(resources: Resources) -> str:
    memory = await resources.cache.memory()
    if not memory.policy.startswith(("volatile-", "noeviction")):
        raise NotWellError(f"maxmemory-policy is {memory.policy}: set volatile-lfu, or marks may be evicted")
    return f"answers, {memory.used / 2**20:.0f} MiB used, {memory.policy}"


async def _memory() -> str:
    used, limit = psutil.Process().memory_info().rss, _memory_limit()
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB"
    if used > MEMORY_LIMIT_SHARE * limit:
        raise NotWellError(f"{detail}: close to the limit")
    return detail


def _memory_limit() -> int:
    """The container's limit in bytes, else the machine's memory."""
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return psutil.virtual_memory().total if limit == "max" else int(limit)


async def _environment(settings: Settings) -> str:
    if settings.environment == "production" and not settings.shopify_origin.startswith("https://"):
        raise NotWellError("SHOPIFY_ORIGIN is not https in production")
    return settings.environment


async def _prefect(resources: Resources, settings: Settings) -> str:
    if settings.prefect_api_url is None:
        raise NotWellError("PREFECT_API_URL is not set")
    (await resources.http.get(f"{settings.prefect_api_url}/health")).raise_for_status()
    return "answers"
