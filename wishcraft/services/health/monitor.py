"""Looks at everything that the service stands on, and says how well it stands."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx
import psutil
from pydantic import BaseModel

from wishcraft.errors import CacheUnavailable, ConfigurationError, DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.health.schedule import OVERDUE, Schedule, find_schedule
from wishcraft.services.health.single_flight import SingleFlightCache
from wishcraft.settings import Settings
from wishcraft.store.connections import count_connections, read_revision

PATIENCE_SECONDS: Final = 1.0
GOOD_SECONDS: Final = 1.0
"""For how long an examination is told to whoever asks: probes cost the stores nothing, however many come."""
SCHEDULE_SECONDS: Final = 10.0
"""The same of Prefect's schedule, which costs Prefect three queries and changes by the minute."""
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
    """The whole and its parts: `database`, `redis`, `memory`, `environment`, `prefect`, `scheduler`."""

    status: Status
    checks: dict[str, Check]


class CheckFailed(Exception):  # noqa: N818  it names an outcome
    """Raised by a check with what is wrong."""


class HealthMonitor:
    """One for each process: examines when it is asked, and at most once in `GOOD_SECONDS`."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self._schedule = SingleFlightCache(lambda: find_schedule(resources.http, settings), SCHEDULE_SECONDS)
        looks: dict[str, Callable[[], Awaitable[str]]] = {
            "database": lambda: _database(resources),
            "redis": lambda: _redis(resources),
            "memory": _memory,
            "environment": lambda: _environment(settings),
            "prefect": lambda: _prefect(resources, settings),
            "scheduler": lambda: _scheduler(self._schedule),
        }
        # A look that hangs is left behind, as psycopg takes seconds to give up, and the next examination joins it.
        self._looks = {part: SingleFlightCache(look, 0) for part, look in looks.items()}
        self._health = SingleFlightCache(self._examine, GOOD_SECONDS)

    async def health(self) -> Health:
        """How everything is, or was just now; a part that does not answer within `PATIENCE_SECONDS` is unhealthy."""
        return await self._health.get()

    @property
    def overdue(self) -> Mapping[str, int]:
        """Of each job how many runs were overdue when Prefect was asked last; empty if it never answered."""
        return self._schedule.known.overdue if self._schedule.known else {}

    async def close(self) -> None:
        """End an examination that is under way."""
        await self._health.close()
        await asyncio.gather(*(look.close() for look in self._looks.values()), self._schedule.close())

    async def _examine(self) -> Health:
        checks = dict(zip(self._looks, await asyncio.gather(*map(_check, self._looks.values())), strict=True))
        return Health(status=overall({name: check.status for name, check in checks.items()}), checks=checks)


def overall(checks: Mapping[str, Status]) -> Status:
    """Unhealthy if registries cannot be served: both stores are away, or a setting is wrong. Else as the worst part."""
    both_away = {checks["database"], checks["redis"]} == {Status.UNHEALTHY}
    if both_away or checks["environment"] is Status.UNHEALTHY:
        return Status.UNHEALTHY
    return Status.HEALTHY if set(checks.values()) == {Status.HEALTHY} else Status.DEGRADED


async def _check(look: SingleFlightCache[str]) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, detail = Status.HEALTHY, await look.get()
    except CheckFailed as error:
        status, detail = Status.DEGRADED, str(error)
    except TimeoutError:
        status, detail = Status.UNHEALTHY, f"no answer within {PATIENCE_SECONDS:g} s"
    except (CacheUnavailable, DatabaseUnavailable, httpx.HTTPError):  # their texts may name hosts and users
        status, detail = Status.UNHEALTHY, "does not answer, or refuses"
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
        status, detail = Status.UNHEALTHY, f"cannot be looked at: {type(error).__name__}"
    return Check(status=status, detail=detail, milliseconds=round(1000 * (time.perf_counter() - started), 1))


async def _database(resources: Resources) -> str:
    connections = count_connections(resources.db)
    detail = f"answers, at revision {await read_revision(resources.db)}"
    if connections.in_use >= connections.limit:
        raise CheckFailed(f"{detail}; all {connections.limit} connections are in use")
    return detail


async def _redis(resources: Resources) -> str:
    memory = await resources.redis.memory()
    if not memory.policy.startswith(("volatile-", "noeviction")):
        raise CheckFailed(f"maxmemory-policy is {memory.policy}: set volatile-lfu, or floors may be evicted")
    if resources.redis.breaker and resources.redis.breaker.is_open:
        raise CheckFailed("answers again, but is not used until it knows of what was changed meanwhile")
    if memory.limit and memory.used > MEMORY_LIMIT_SHARE * memory.limit:
        raise CheckFailed(f"{memory.used / 2**20:.0f} of {memory.limit / 2**20:.0f} MiB used: close to maxmemory")
    return f"answers, {memory.used / 2**20:.0f} MiB used, {memory.policy}"


async def _memory() -> str:
    used, limit = psutil.Process().memory_info().rss, _memory_limit()
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB"
    if used > MEMORY_LIMIT_SHARE * limit:
        raise CheckFailed(f"{detail}: close to the limit")
    return detail


def _memory_limit() -> int:
    """The container's limit in bytes, else the machine's memory."""
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return psutil.virtual_memory().total if limit == "max" else int(limit)


async def _environment(settings: Settings) -> str:
    if settings.environment == "production" and not settings.shopify_origin.startswith("https://"):
        raise CheckFailed("SHOPIFY_ORIGIN is not https in production")
    return settings.environment


async def _prefect(resources: Resources, settings: Settings) -> str:
    if settings.prefect_api_url is None:
        raise CheckFailed("PREFECT_API_URL is not set")
    (await resources.http.get(f"{settings.prefect_api_url}/health")).raise_for_status()
    return "answers"


async def _scheduler(schedule: SingleFlightCache[Schedule]) -> str:
    try:
        found = await schedule.get()
    except ConfigurationError as error:
        raise CheckFailed(str(error)) from None
    overdue = [f"{job} ({runs})" for job, runs in found.overdue.items() if runs]
    if overdue:
        raise CheckFailed(f"should have begun over {OVERDUE.seconds // 60} minutes ago: {', '.join(sorted(overdue))}")
    if found.is_empty:
        raise CheckFailed("no run is scheduled")
    return "runs are scheduled, none is overdue"
