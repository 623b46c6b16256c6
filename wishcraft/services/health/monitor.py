"""Health probes of the process and of what it depends on: stores, memory, settings, Prefect and its schedule."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from math import isinf
from pathlib import Path
from typing import Final, TypeVar

import httpx
import psutil
from pydantic import BaseModel, Field

from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.errors import CacheUnavailable, ConfigurationError, DatabaseUnavailable, in_words
from wishcraft.resources import Resources
from wishcraft.services.health.schedule import OVERDUE, ScheduleState, find_schedule
from wishcraft.services.health.unreachable import say_why
from wishcraft.services.health.upstreams import (
    Growth,
    RecentCounts,
    describe_mail,
    describe_shopify,
    group_shops_in_trouble,
)
from wishcraft.services.single_flight import LOAD_TIMEOUT_SECONDS, SingleFlightCache
from wishcraft.settings import Settings
from wishcraft.store import webhook_inbox
from wishcraft.store.connections import count_connections, find_missing_functions, read_revision
from wishcraft.store.replica import Replica
from wishcraft.store.webhook_inbox import InboxState

PROBE_TIMEOUT_SECONDS: Final = 1.0
HEALTH_TTL_SECONDS: Final = 1.0
"""Health is probed once a second at most, so the load on the stores does not grow with the requests to /health."""
SCHEDULE_TTL_SECONDS: Final = 10.0
"""Longer: the schedule costs Prefect four queries, and changes by the minute."""
WEBHOOKS_TTL_SECONDS: Final = 10.0
"""The inbox is counted, which takes longer the more waits."""
UPSTREAMS_TTL_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 0.5
"""Less than a probe has: a store that does not answer is a fault of its own, and the last state is good enough."""
_NO_ANSWER_YET: Final = "not known: Prefect has not answered yet"
LATE_SECONDS: Final = 120
"""Webhooks that have been due for longer are late."""
CONSUMER_SECONDS: Final = 60
"""A consumer that lives asks Redis every few seconds."""
MEMORY_LIMIT_SHARE: Final = 0.9
T = TypeVar("T")
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


class Status(StrEnum):
    """State of one check, or of all together."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Check(BaseModel):
    """Result of one probe; `detail` is for people and contains no address and no secret."""

    status: Status = Field(description="State of the part.")
    detail: str = Field(description="What was found, in words.", examples=["answers"])
    milliseconds: float = Field(description="How long the probe took.", examples=[1.9])


class Health(BaseModel):
    """Overall state and the checks.

    `database`, `redis`, `memory`, `environment`, `prefect`, `scheduler`, `webhooks`, `mail`, `shopify`,
    and `replica` if there is one.
    """

    status: Status = Field(description="The worst state of a part, but `degraded` while a store answers.")
    checks: dict[str, Check] = Field(description="Each part by its name.")


class CheckFailed(Exception):  # noqa: N818  it names an outcome
    """Raised by a probe whose part is degraded, or unhealthy; the message is the check's detail."""

    def __init__(self, detail: str, status: Status = Status.DEGRADED) -> None:
        super().__init__(detail)
        self.status = status


class HealthMonitor:
    """Runs all probes on request, at most once in `HEALTH_TTL_SECONDS`. Create one a process."""

    def __init__(
        self, resources: Resources, settings: Settings, *, probe_seconds: float = PROBE_TIMEOUT_SECONDS
    ) -> None:
        """A probe without a result after `probe_seconds` counts as unhealthy."""
        self._resources, self._settings, self._probe_seconds = resources, settings, probe_seconds
        self._missing_functions: list[str] = []
        """The result of the last question to PostgreSQL."""
        self._prefect = SingleFlightCache(lambda: _ask_prefect(resources, settings), 0)
        self._schedule = SingleFlightCache(lambda: find_schedule(resources.http, settings), SCHEDULE_TTL_SECONDS)
        self._inbox = SingleFlightCache(lambda: find_inbox_state(resources), WEBHOOKS_TTL_SECONDS)
        self._upstreams = SingleFlightCache(RecentCounts(resources.counters).read, UPSTREAMS_TTL_SECONDS)
        probes: dict[str, Callable[[], Awaitable[str]]] = {
            "database": self._probe_database,
            "redis": lambda: _probe_redis(resources),
            "memory": _probe_memory,
            "environment": self._probe_environment,
            "prefect": lambda: _probe_prefect(self._prefect),
            "scheduler": lambda: _probe_scheduler(self._schedule),
            "webhooks": lambda: _probe_webhooks(resources, self._inbox),
            "mail": lambda: _probe_upstream(self._upstreams, describe_mail),
            "shopify": lambda: _probe_upstream(self._upstreams, describe_shopify),
        }
        if replica := resources.replica:
            probes["replica"] = lambda: _probe_replica(replica)
        # A probe outlives its timeout, as psycopg takes seconds to give up; the next call joins it.
        self._probes = {name: SingleFlightCache(probe, 0) for name, probe in probes.items()}
        self._health = SingleFlightCache(self._run_probes, HEALTH_TTL_SECONDS)

    async def health(self) -> Health:
        """Return the health, up to `HEALTH_TTL_SECONDS` old."""
        return await self._health.get()

    @property
    def overdue_runs(self) -> Mapping[str, int]:
        """Number of overdue runs by job, as Prefect last answered; empty if it never has."""
        return self._schedule.value.overdue if self._schedule.value else {}

    async def shops_in_trouble(self) -> dict[str, list[str]]:
        """The shops that Shopify did not answer as it should in the last ten minutes, by the name of the counter.

        Empty while Redis has not answered yet.
        """
        growth = await self._upstreams.get_within(_WAIT_SECONDS)
        return group_shops_in_trouble(growth) if growth else {}

    async def close(self) -> None:
        """Cancel the running probes."""
        await self._health.close()
        probes = (probe.close() for probe in self._probes.values())
        parts = (self._prefect, self._schedule, self._inbox, self._upstreams)
        await asyncio.gather(*probes, *(part.close() for part in parts))

    async def _probe_database(self) -> str:
        connections = count_connections(self._resources.db)
        detail = f"answers, at revision {await read_revision(self._resources.db)}"
        if connections.in_use >= connections.limit:
            raise CheckFailed(f"{detail}; all {connections.limit} connections are in use")
        self._missing_functions = await find_missing_functions(self._resources.db)
        return detail

    async def _probe_environment(self) -> str:
        environment = self._settings.environment
        if environment == "production" and not self._settings.shopify_origin.startswith("https://"):
            raise CheckFailed("SHOPIFY_ORIGIN is not https in production", Status.UNHEALTHY)
        if self._missing_functions:
            missing = ", ".join(self._missing_functions)
            advice = "let it own the database, and run analysts.sql again"
            raise CheckFailed(f"the login of DATABASE_URL may not execute {missing}: {advice}", Status.UNHEALTHY)
        return environment

    async def _run_probes(self) -> Health:
        results = await asyncio.gather(*(_check(probe, self._probe_seconds) for probe in self._probes.values()))
        checks = dict(zip(self._probes, results, strict=True))
        return Health(status=overall({name: check.status for name, check in checks.items()}), checks=checks)


def overall(checks: Mapping[str, Status]) -> Status:
    """Return the overall state from the checks' states.

    Unhealthy if registries cannot be served: neither store answers, or `environment` is unhealthy. Otherwise degraded
    unless all checks are healthy.
    """
    both_stores_down = {checks["database"], checks["redis"]} == {Status.UNHEALTHY}
    if both_stores_down or checks["environment"] is Status.UNHEALTHY:
        return Status.UNHEALTHY
    return Status.HEALTHY if set(checks.values()) == {Status.HEALTHY} else Status.DEGRADED


async def _check(probe: SingleFlightCache[str], seconds: float) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            status, detail = Status.HEALTHY, await probe.get()
    except CheckFailed as error:
        status, detail = error.status, str(error)
    except TimeoutError:
        status, detail = Status.UNHEALTHY, f"no answer within {seconds:g} s"
    except (CacheUnavailable, DatabaseUnavailable, httpx.HTTPError) as error:  # messages may contain hosts and users
        status, detail = Status.UNHEALTHY, say_why(error)
    except Exception as error:  # noqa: BLE001  any failure is the result of the check
        status, detail = Status.UNHEALTHY, f"the check failed: {in_words(error)}"
    return Check(status=status, detail=detail, milliseconds=round(1000 * (time.perf_counter() - started), 1))


async def _probe_replica(replica: Replica) -> str:
    lag = replica.lag_seconds
    if not replica.is_current:
        lags = "lags by a time that is not known yet" if isinf(lag) else f"lags {lag:.0f} s"
        raise CheckFailed(f"{replica.fault or lags}: lists are read from DATABASE_URL")
    return f"lags at most {lag:.1f} s"


async def _probe_redis(resources: Resources) -> str:
    memory = await resources.redis.memory()
    if not memory.policy.startswith(("volatile-", "noeviction")):
        raise CheckFailed(f"maxmemory-policy is {memory.policy}: set volatile-lfu, or version floors may be evicted")
    if resources.redis.breaker and resources.redis.breaker.is_open:
        raise CheckFailed("did not answer a moment ago, and is not used until it answers a probe")
    if memory.limit and memory.used > MEMORY_LIMIT_SHARE * memory.limit:
        raise CheckFailed(f"{memory.used / 2**20:.0f} of {memory.limit / 2**20:.0f} MiB used: close to maxmemory")
    return f"answers, {memory.used / 2**20:.0f} MiB used, {memory.policy}"


async def _probe_memory() -> str:
    used, limit = psutil.Process().memory_info().rss, _memory_limit()
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB"
    if used > MEMORY_LIMIT_SHARE * limit:
        raise CheckFailed(f"{detail}: close to the limit")
    return detail


def _memory_limit() -> int:
    """Return the container's memory limit in bytes, or the machine's memory without one."""
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return psutil.virtual_memory().total if limit == "max" else int(limit)


async def _find_latest(answers: SingleFlightCache[T]) -> T | None:
    """The latest answer of Prefect: no guest waits for it, and while it starts jobs it takes seconds."""
    try:
        return await answers.get_latest(_WAIT_SECONDS)
    except TimeoutError:
        raise CheckFailed(f"no answer within {LOAD_TIMEOUT_SECONDS:g} s", Status.UNHEALTHY) from None


async def _probe_prefect(answers: SingleFlightCache[str]) -> str:
    return await _find_latest(answers) or _NO_ANSWER_YET


async def _ask_prefect(resources: Resources, settings: Settings) -> str:
    if settings.prefect_api_url is None:
        raise CheckFailed("PREFECT_API_URL is not set")
    (await resources.http.get(f"{settings.prefect_api_url}/health")).raise_for_status()
    return "answers"


async def _probe_scheduler(schedule: SingleFlightCache[ScheduleState]) -> str:
    try:
        state = await _find_latest(schedule)
    except ConfigurationError as error:
        raise CheckFailed(str(error)) from None
    if state is None:
        return _NO_ANSWER_YET
    overdue = [f"{job} ({runs})" for job, runs in state.overdue.items() if runs]
    paused = f"; paused: {', '.join(state.paused)}" if state.paused else ""
    if overdue:
        raise CheckFailed(f"runs over {OVERDUE.seconds // 60} minutes overdue: {', '.join(sorted(overdue))}{paused}")
    if state.is_empty:
        raise CheckFailed(f"no run is scheduled{paused}")
    failed = ", ".join(sorted(f"{job} ({runs})" for job, runs in state.failed.items()))
    return f"runs are scheduled, none is overdue{paused}{f'; failed within an hour: {failed}' if failed else ''}"


async def _probe_upstream(counts: SingleFlightCache[Growth], describe: Callable[[Growth], tuple[bool, str]]) -> str:
    growth = await counts.get_within(_WAIT_SECONDS)
    if growth is None:
        return "not known: Redis has not answered yet"
    is_well, detail = describe(growth)
    if not is_well:
        raise CheckFailed(detail)
    return detail


async def find_inbox_state(resources: Resources) -> InboxState:
    """The backlog of the inbox now."""
    async with resources.db.autocommit() as session:
        return await webhook_inbox.find_state(session)


async def _probe_webhooks(resources: Resources, inbox: SingleFlightCache[InboxState]) -> str:
    state = await inbox.get_within(_WAIT_SECONDS)
    if state is None:
        return "not known: PostgreSQL has not answered yet"
    faults = []
    if state.lag_seconds > LATE_SECONDS:
        consumers = await _count_consumers(resources)
        faults.append(f"webhooks have waited for {state.lag_seconds:.0f} s: {consumers}")
    if state.dead:
        faults.append(f"dead letters wait for a decision ({state.dead:,}): see webhook-dead-letters")
    if faults:
        raise CheckFailed("; ".join(faults))
    return f"{state.waiting:,} wait, none is late or dead"


async def _count_consumers(resources: Resources) -> str:
    try:
        alive = await WebhookQueue(resources.redis).count_consumers(CONSUMER_SECONDS)
    except CacheUnavailable:
        return "Redis does not answer"
    if not alive:
        return "no consumer runs, start python -m deployments.webhooks"
    return f"consumers run ({alive}), and do not keep up"
