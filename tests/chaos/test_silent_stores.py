"""Redis and PostgreSQL fall silent again and again while two API processes change and read one registry."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import httpx
import pytest

from tests.support.aliases import Demo
from tests.support.api import Shopper, app_state_of, open_api_client
from tests.support.failing_proxy import FailingProxy
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.settings import Settings

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(1200)]  # minutes on a machine that is busy
ROUNDS = 10
WRITES = 4
"""How many changes are acknowledged in each outage: two may have informed Redis just before it."""


class Traffic:
    """Two writers and two readers of one registry, and the versions that they see."""

    def __init__(self, clients: list[httpx.AsyncClient], signed: Callable[..., str], slug: str) -> None:
        self.known = 0
        """The newest version that was acknowledged or read: every read that begins later must see it."""
        self.writes = 0
        self.reads = Counter[str]()
        self._slug = slug
        self._writers = [Shopper(client, signed, 7_100_000_000_001) for client in clients]
        self._readers = [Shopper(client, signed) for client in clients]

    async def write(self, process: int) -> None:
        for number in count():  # a change without a difference is not a change
            title = f"Change {number} of {process}"
            answer = await self._writers[process].send(
                "PATCH", f"/api/registries/{self._slug}", {"title": title}, if_match="*"
            )
            if answer.status_code == 200:
                self.writes += 1
                self.known = max(self.known, version_of(answer))
            else:
                assert answer.status_code == 503, answer.text

    async def read(self, process: int) -> None:
        while True:
            must_see = self.known
            answer = await self._readers[process].read(self._slug)
            state = answer.headers.get("x-cache", str(answer.status_code))
            self.reads[state] += 1
            if answer.status_code == 200 and state != "stale":
                version = version_of(answer)
                assert version >= must_see, f"version {version} was read ({state}) after {must_see}"
                self.known = max(self.known, version)
            else:
                assert answer.status_code in {200, 503}, answer.text
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        await wait_until(condition, f"{self.reads}")


def version_of(answer: httpx.Response) -> int:
    return int(answer.headers["etag"].strip('"').partition("-")[0])


@pytest.fixture
async def traffic(
    through_proxy: Settings, demo: Demo, own_valkey: OwnValkey, signed: Callable[..., str]
) -> AsyncIterator[Traffic]:
    # One request of a writer and a reader after the other: more than a minute's quota.
    quick = through_proxy.model_copy(update={"redis_url": own_valkey.url, "rate_limit_per_minute": 1_000_000})
    async with open_api_client(quick) as first, open_api_client(quick.model_copy(update={"port": 1})) as second:
        for client in (first, second):
            app_state_of(client).resources.cache._hold_seconds = 0
        slug = await Shopper(first, signed, 7_100_000_000_001).create()
        traffic = Traffic([first, second], signed, slug)
        async with running(traffic):
            yield traffic


@asynccontextmanager
async def running(traffic: Traffic) -> AsyncIterator[None]:
    """A failure of a writer or reader ends the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(process)) for work in (traffic.write, traffic.read) for process in range(2)]
        yield
        for task in tasks:
            task.cancel()


async def test_redis_that_falls_silent_takes_no_change_back(traffic: Traffic, own_valkey: OwnValkey) -> None:
    for _ in range(ROUNDS):
        hits = traffic.reads["hit"]
        await traffic.until(lambda hits=hits: traffic.reads["hit"] > hits + 10)  # type: ignore[misc]
        own_valkey.pause()
        writes = traffic.writes
        await traffic.until(lambda writes=writes: traffic.writes >= writes + WRITES)  # type: ignore[misc]
        own_valkey.resume()
    assert traffic.reads["bypass"]


async def test_postgresql_that_hangs_in_a_recovery_takes_no_change_back(
    traffic: Traffic, own_valkey: OwnValkey, postgresql: FailingProxy
) -> None:
    for _ in range(ROUNDS // 2):
        hits = traffic.reads["hit"]
        await traffic.until(lambda hits=hits: traffic.reads["hit"] > hits + 10)  # type: ignore[misc]
        own_valkey.pause()
        writes = traffic.writes
        await traffic.until(lambda writes=writes: traffic.writes >= writes + WRITES)  # type: ignore[misc]
        with postgresql.stalled():
            own_valkey.resume()
            refused = traffic.reads["503"]
            await traffic.until(lambda refused=refused: traffic.reads["503"] > refused)  # type: ignore[misc]
    assert traffic.writes
