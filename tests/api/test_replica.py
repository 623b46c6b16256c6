"""Guests' lists come from a replica that lags little; everything else, and who writes, from the primary."""

import asyncio
import os
import time
from collections.abc import Iterator
from itertools import cycle
from math import ceil
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from deployments.sandbox.demo import add_key
from deployments.sandbox.postgres import MAJOR_VERSION
from tests.support.aliases import Demo
from tests.support.api import Shopper, app_state_of, open_api_client
from tests.support.failing_proxy import FailingProxy
from tests.support.standby import Standby, standby
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from wishcraft.errors import DatabaseUnavailable
from wishcraft.settings import Settings
from wishcraft.store.engine import Database
from wishcraft.store.replica import Replica, find_replica_url

PATH: Final = "/api/registries"


class Clock:
    """Seconds that pass when the test says so, from now on; whole ones, which add up exactly."""

    def __init__(self) -> None:
        self.now = float(ceil(time.monotonic()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def replica_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    """A streaming replica of the tests' server."""
    with psycopg.connect(os.environ["TEST_DATABASE_URL"]) as connection:
        if connection.info.server_version // 10_000 != int(MAJOR_VERSION):
            pytest.fail(
                f"pg_basebackup copies only a server of its own version: TEST_DATABASE_URL needs {MAJOR_VERSION}"
            )
    with standby(tmp_path_factory.mktemp("standby"), os.environ["TEST_DATABASE_URL"]) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, replica_server: Standby) -> Settings:
    """Settings with the replica as the analysts know it; the application has a login of its own."""
    replica = urlsplit(str(settings.database_replica_url))
    address = f"{replica.username}:{replica.password}@127.0.0.1:{urlsplit(replica_server.url).port}"
    return settings.model_copy(update={"database_replica_url": replica._replace(netloc=address).geturl()})


@pytest.fixture
async def clock(client: httpx.AsyncClient, replica_server: Standby) -> Clock:
    """The clock of the API's replica, which is current, and checked when the test says so."""
    replica = replica_of(client)
    await app_state_of(client).stop()
    clock = Clock()
    replica.clock = clock
    await caught_up(client, replica_server)
    return clock


def replica_of(client: httpx.AsyncClient) -> Replica:
    replica = app_state_of(client).resources.replica
    assert replica
    return replica


async def caught_up(client: httpx.AsyncClient, server: Standby) -> None:
    """Wait until the replica has all that is committed now."""
    replica = replica_of(client)

    async def has_caught_up() -> bool:
        server.flush_primary()  # each time: another worker's record may be flushed up to the end of a page
        await replica.check()
        return replica.lag_seconds == 0

    assert isinstance(replica.clock, Clock)
    replica.clock.now += 1
    await wait_until(has_caught_up, lambda: f"the replica does not catch up: {replica.fault}, {server.describe()}")


async def health_of_replica(client: httpx.AsyncClient) -> tuple[str, str]:
    """Status and detail of the replica in /health, probed again."""
    app_state_of(client).health_monitor._health.value = None
    check = (await client.get("/health")).json()["checks"]["replica"]
    return check["status"], check["detail"]


async def reads_of_replica(client: httpx.AsyncClient) -> float:
    """The lists that the replica has answered, as /metrics has them."""
    name = 'wishcraft_list_reads_total{server="replica"} '
    [count] = [line for line in (await client.get("/metrics")).text.splitlines() if line.startswith(name)]
    return float(count.removeprefix(name))


_limits = cycle(range(100, 50, -1))


async def titles(shopper: Shopper, query: str = "") -> set[str]:
    """As it is read now: a page of another size is not one that is kept."""
    answer = await shopper.send("GET", f"{PATH}?limit={next(_limits)}{query}")
    assert answer.status_code == 200, answer.text
    return {registry["title"] for registry in answer.json()["registries"]}


@pytest.mark.usefixtures("clock")
async def test_only_guests_lists_come_from_the_replica_and_own_writes_are_seen(
    client: httpx.AsyncClient, emma: Shopper, guest: Shopper, hugo: Shopper, key: dict[str, str], demo: Demo,
    replica_server: Standby,
) -> None:  # fmt: skip
    read_only = {"X-API-Key": add_key(demo, 1).key}
    demo.execute("UPDATE api_keys SET scopes = '{read}' WHERE id = (SELECT max(id) FROM api_keys)")
    await caught_up(client, replica_server)
    replica_server.pause_replay()
    try:
        slug = await emma.create(title="Just made")
        assert replica_of(client).is_current
        assert "Just made" not in await titles(guest)
        assert await titles(guest, "&q=made") == set()
        assert "Just made" not in (await client.get(f"{PATH}?limit=100", headers=read_only)).text
        # Who may write reads the primary, and one registry comes from it for all.
        for shopper in (emma, hugo):
            assert "Just made" in await titles(shopper)
        assert "Just made" in (await client.get(f"{PATH}?limit=100", headers=key)).text
        own = (await emma.send("GET", "/api/my-registries")).json()["registries"]
        assert [registry["title"] for registry in own] == ["Just made"]
        assert (await guest.read(slug)).json()["title"] == "Just made"
    finally:
        replica_server.resume_replay()
    await caught_up(client, replica_server)
    assert "Just made" in await titles(guest)


async def test_replica_that_lags_beyond_the_bound_is_not_read(
    client: httpx.AsyncClient, clock: Clock, emma: Shopper, guest: Shopper, replica_server: Standby
) -> None:
    replica = replica_of(client)
    replica_server.pause_replay()
    try:
        await emma.create(title="Just made")
        assert "Just made" not in await titles(guest)
        replica_server.flush_primary()
        clock.now += replica.max_lag_seconds
        await replica.check()
        assert (replica.lag_seconds, replica.is_current) == (replica.max_lag_seconds, True)
        clock.now += 0.1
        await replica.check()
        assert not replica.is_current
        assert "Just made" in await titles(guest)
        assert await health_of_replica(client) == ("degraded", "lags 5 s: lists are read from DATABASE_URL")
    finally:
        replica_server.resume_replay()
    await caught_up(client, replica_server)
    assert replica.is_current
    before = await reads_of_replica(client)
    await titles(guest)
    assert await reads_of_replica(client) == before + 1


async def test_idle_primary_is_no_lag(client: httpx.AsyncClient, clock: Clock) -> None:
    replica = replica_of(client)
    assert await health_of_replica(client) == ("healthy", "lags at most 0.0 s")
    for _ in range(3):
        clock.now += 3_600
        assert not replica.is_current  # not checked for an hour
        await wait_until(lambda: is_current_after_a_check(replica))


async def is_current_after_a_check(replica: Replica) -> bool:
    await replica.check()
    return replica.is_current


@pytest.mark.usefixtures("clock")
async def test_silent_replica_is_left_until_a_check_succeeds(
    client: httpx.AsyncClient, guest: Shopper, replica_server: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = replica_of(client)
    answers = asyncio.Event()

    async def hang(*_: object) -> None:
        await answers.wait()

    replica.answer_seconds = 0.1
    with monkeypatch.context() as patch:
        patch.setattr(replica._db, "fetch_each", hang)
        assert await titles(guest)
        assert not replica.is_current
        patch.setattr(replica._db, "fetch_each", None)  # not called any more
        assert await titles(guest)
    answers.set()
    assert (await health_of_replica(client))[0] == "degraded"
    await caught_up(client, replica_server)
    assert replica.is_current


async def test_lost_replica_costs_no_answer(
    settings: Settings, demo: Demo, signed: Any, replica_server: Standby
) -> None:
    server = urlsplit(replica_server.url)
    assert server.port
    with FailingProxy(server.port) as proxy:
        lost = urlsplit(str(settings.database_replica_url))
        url = lost._replace(netloc=f"{lost.username}:{lost.password}@127.0.0.1:{proxy.port}").geturl()
        changed = {"database_replica_url": url, "database_replica_max_lag_seconds": float(PATIENCE_SECONDS)}
        async with open_api_client(settings.model_copy(update=changed)) as client:
            guest = Shopper(client, signed)
            replica = replica_of(client)

            async def is_left() -> bool:
                assert await titles(guest)
                return not replica.is_current

            await wait_until(lambda: replica.is_current)
            assert await titles(guest)
            proxy.fail()
            await wait_until(is_left, "a read that failed was no reason to leave the replica")
            assert await titles(guest)
            proxy.heal()
            await wait_until(lambda: replica.is_current)


async def test_another_server_is_no_replica(settings: Settings, replica_server: Standby) -> None:
    primary = Database(settings.database_url)
    for url, expected in ((settings.database_url, "is not a streaming replica"), (replica_server.url, "")):
        name = urlsplit(settings.database_url).path
        other = urlsplit(url)._replace(scheme="postgresql+psycopg", path=name).geturl()
        replica = Replica(other, primary, 5)
        if expected:
            with pytest.raises(DatabaseUnavailable, match=expected):
                await replica.check()
            assert not replica.is_current
        else:
            await wait_until(lambda: is_current_after_a_check(replica))  # noqa: B023  awaited here
        await replica.close()
    await primary.close()


def test_application_reads_the_replica_with_its_own_login() -> None:
    primary = "postgresql+psycopg://app:secret@db:5432/wishcraft?sslmode=require"
    analysts = "postgresql+psycopg://wishcraft_analyst:other@replica:6000/reports?sslmode=verify-full"
    assert find_replica_url(primary, analysts) == (
        "postgresql+psycopg://app:secret@replica:6000/wishcraft?sslmode=verify-full"
    )
    assert find_replica_url(primary, None) is None
    assert find_replica_url(primary, "postgresql+psycopg://wishcraft_analyst:other@db/wishcraft") is None


async def test_application_without_a_replica_reads_the_primary(settings: Settings, demo: Demo, signed: Any) -> None:
    for changed in ({"database_replica_url": None}, {"database_replica_max_lag_seconds": 0.0}):
        async with open_api_client(settings.model_copy(update=changed)) as client:
            assert app_state_of(client).resources.replica is None
            assert await titles(Shopper(client, signed))
            assert "replica" not in (await client.get("/health")).json()["checks"]


def test_login_of_the_application_is_no_superuser(settings: Settings) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False,)
