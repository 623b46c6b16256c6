import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest
from redis.asyncio import Redis

from wishcraft.cache.client import Server, connect
from wishcraft.cache.lua import Call, Script
from wishcraft.cache.rate_limiter import Limiter
from wishcraft.domain.rate_limits import Policy, Verdict
from wishcraft.errors import CacheUnavailable

POLICY = Policy("visitor", 10, 60)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The limiter's clock, set by the test: the middle of the next minute."""
    now = [(time.time() // 60 + 1) * 60 + 30]
    monkeypatch.setattr("wishcraft.cache.rate_limiter.time.time", lambda: now[0])
    return iter([now]).__next__()  # type: ignore[return-value]


def admitted(limiter: Limiter, caller: str, times: int, policy: Policy = POLICY) -> int:
    return sum(limiter.take(policy, caller).allowed for _ in range(times))


def held(limiter: Limiter) -> int:
    return sum(map(len, limiter._windows.values()))


async def test_caller_is_refused_beyond_the_quota(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    first = limiter.take(POLICY, "a")
    assert (first.allowed, first.remaining, first.reset) == (True, 9, 30)
    assert admitted(limiter, "a", 20) == 9
    refused = limiter.take(POLICY, "a")
    assert (refused.allowed, refused.remaining, refused.reset) == (False, 0, 30)
    assert limiter.count(POLICY, "a") == (-1, 30)
    assert POLICY.limit_field(-1, 30) == POLICY.limit_field(0, 30) == '"visitor";r=0;t=30'
    assert admitted(limiter, "b", 20) == 10
    clock[0] += 30
    assert admitted(limiter, "a", 20) == 10


async def test_processes_that_exchange_counts_share_the_quota(server: Server, clock: list[float]) -> None:
    one, other = Limiter(server), Limiter(server)
    assert admitted(one, "a", 6) == 6
    await one.share()
    assert admitted(other, "a", 1) == 1
    await other.share()
    assert admitted(other, "a", 20) == 3
    await other.share()
    assert admitted(one, "a", 1) == 1  # it has not exchanged yet
    await one.share()
    assert admitted(one, "a", 20) == 0
    assert admitted(one, "b", 20) == 10


async def test_refused_requests_are_not_counted(server: Server, redis: Redis, clock: list[float]) -> None:
    limiter = Limiter(server)
    admitted(limiter, "a", 100)
    await limiter.share()
    [key] = [key async for key in redis.scan_iter("wishcraft:limit:*")]
    assert await redis.get(key) == b"10"


async def test_policies_are_counted_separately(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    assert admitted(limiter, "a", 20) == 10
    assert admitted(limiter, "a", 20, Policy("unlock", 3, 600)) == 3


async def test_several_at_once_are_counted_if_all_are_within_the_quota(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    verdicts = [limiter.take(POLICY, "a", number) for number in (7, 4, 3, 1)]
    assert [(each.allowed, each.remaining) for each in verdicts] == [(True, 3), (False, 0), (True, 0), (False, 0)]


async def test_counts_made_without_redis_are_shared_later(server: Server, redis: Redis, clock: list[float]) -> None:
    unavailable = connect("redis://127.0.0.1:1")
    limiter = Limiter(unavailable)
    assert admitted(limiter, "a", 6) == 6
    with pytest.raises(CacheUnavailable):
        await limiter.share()
    await unavailable.close()
    limiter._server = server
    await limiter.share()
    [key] = [key async for key in redis.scan_iter("wishcraft:limit:*")]
    assert await redis.get(key) == b"6"
    assert admitted(limiter, "a", 20) == 4


async def test_ended_windows_are_dropped(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    for number in range(100):
        limiter.take(POLICY, str(number))
    clock[0] += 60
    await limiter.share()
    assert not held(limiter)


async def test_an_exchange_counts_the_requests_of_all_processes_at_once(server: Server, clock: list[float]) -> None:
    one, other = Limiter(server), Limiter(server)
    assert admitted(one, "a", 7) == 7
    assert [verdict.remaining for verdict in await one.exchange((POLICY, "a"), (POLICY, "b"))] == [3, 10]
    assert admitted(other, "a", 4) == 4
    [verdict] = await other.exchange((POLICY, "a"))
    assert (verdict.allowed, verdict.remaining, verdict.reset) == (False, 0, 30)
    [verdict] = await one.exchange((POLICY, "a"))
    assert not verdict.allowed
    assert admitted(one, "b", 20) == 10


async def test_an_exchange_of_a_caller_without_requests_leaves_no_key(server: Server, clock: list[float]) -> None:
    limiter, other = Limiter(server), Limiter(server)
    verdicts = await limiter.exchange((POLICY, "a"))
    assert [(verdict.allowed, verdict.remaining) for verdict in verdicts] == [(True, 10)]
    assert not [key for key in await server.redis.keys("*") if b"visitor" in key]
    admitted(other, "a", 3)
    await other.exchange((POLICY, "a"))
    [verdict] = await limiter.exchange((POLICY, "a"))
    assert verdict.remaining == 7


async def test_exchanges_at_the_same_time_count_each_request_once(
    server: Server, redis: Redis, clock: list[float]
) -> None:
    limiter = Limiter(server)

    async def request() -> None:
        limiter.take(POLICY, "a")
        await limiter.exchange((POLICY, "a"))

    await asyncio.gather(*(request() for _ in range(8)), limiter.share(), limiter.share())
    [key] = [key async for key in redis.scan_iter("wishcraft:limit:*")]
    assert await redis.get(key) == b"8"
    assert limiter.peek(POLICY, "a").remaining == 2


async def test_a_cancelled_exchange_loses_no_request(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    assert admitted(limiter, "a", 8) == 8
    exchange = asyncio.create_task(limiter.exchange((POLICY, "a")))
    await asyncio.sleep(0)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert admitted(limiter, "a", 20) == 2


async def test_counts_of_an_exchange_that_fails_while_others_are_shared_are_shared_later(
    server: Server, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, go_on, run = Limiter(server), Limiter(server), asyncio.Event(), server.run

    async def fail(*_: object) -> list[bytes]:
        await go_on.wait()
        raise CacheUnavailable("no reply")

    assert admitted(one, "a", 3) == 3
    monkeypatch.setattr(server, "run", fail)
    exchange = asyncio.create_task(one.exchange((POLICY, "a")))
    await asyncio.sleep(0)
    sharing = asyncio.create_task(one.share())
    await asyncio.sleep(0)
    monkeypatch.setattr(server, "run", run)
    go_on.set()
    await asyncio.gather(exchange, sharing)
    await one.share()
    [verdict] = await other.exchange((POLICY, "a"))
    assert verdict.remaining == 7


async def test_an_exchange_without_redis_counts_in_the_process(clock: list[float]) -> None:
    unavailable = connect("redis://127.0.0.1:1")
    limiter = Limiter(unavailable)
    assert admitted(limiter, "a", 20) == 10
    [verdict] = await limiter.exchange((POLICY, "a"))
    assert (verdict.allowed, verdict.remaining) == (True, 0)
    assert not limiter.peek(POLICY, "a").allowed
    await unavailable.close()


async def test_peeking_counts_nothing(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    assert limiter.peek(POLICY, "a") == Verdict(allowed=True, remaining=10, reset=30)
    assert not held(limiter)
    assert admitted(limiter, "a", 20) == 10
    assert limiter.peek(POLICY, "a") == Verdict(allowed=False, remaining=0, reset=30)
    clock[0] += 30
    assert limiter.peek(POLICY, "a").allowed


async def test_windows_held_in_memory_are_limited(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server, max_windows=10)
    for number in range(100):
        limiter.take(POLICY, str(number))
    assert (held(limiter), len(limiter._counted)) == (10, 10)


async def test_a_clock_that_is_set_back_begins_a_new_window(server: Server, clock: list[float]) -> None:
    limiter = Limiter(server)
    assert (admitted(limiter, "a", 20), admitted(limiter, "b", 20)) == (10, 10)
    clock[0] -= 3_600
    assert admitted(limiter, "b", 20) == 10
    assert limiter.peek(POLICY, "a") == Verdict(allowed=True, remaining=10, reset=30)
    assert [verdict.reset for verdict in await limiter.exchange((POLICY, "a"))] == [30]
    assert admitted(limiter, "a", 20) == 10
    assert limiter.count(POLICY, "a") == (-1, 30)
    clock[0] -= 3_600
    await limiter.share()
    assert not held(limiter)


async def test_counts_are_shared_also_if_the_clock_of_redis_is_ahead(
    server: Server, redis: Redis, clock: list[float]
) -> None:
    one, other = Limiter(server), Limiter(server)
    clock[0] -= 3_600
    assert admitted(one, "a", 6) == 6
    await one.share()
    assert admitted(other, "a", 1) == 1
    await other.share()
    assert admitted(other, "a", 20) == 3
    [key] = [key async for key in redis.scan_iter("wishcraft:limit:*")]
    assert 30 <= await redis.ttl(key) <= 31  # until the end of the window, as the process has it


async def test_a_redis_that_lost_its_counts_gives_no_new_quota(
    server: Server, redis: Redis, clock: list[float]
) -> None:
    limiter = Limiter(server)
    for _ in range(2):
        assert admitted(limiter, "a", 3) == 3
        await limiter.share()
        await redis.flushdb()
    assert admitted(limiter, "a", 20) == 4
    await limiter.share()
    await redis.flushdb()
    [verdict] = await limiter.exchange((POLICY, "a"))
    assert (verdict.allowed, verdict.remaining) == (True, 0)
    assert admitted(limiter, "a", 20) == 0


async def test_counts_of_many_callers_are_shared_in_parts_and_each_once(
    server: Server, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    callers, run, commands = [str(number) for number in range(120)], server.run, list[int]()

    async def fail_at_second(script: Script, calls: Sequence[Call]) -> list[bytes]:
        commands.append(len(calls))
        if len(commands) == 2:
            raise CacheUnavailable("no reply")
        return await run(script, calls)

    one, other = Limiter(server), Limiter(server)
    assert [admitted(one, caller, 4) for caller in callers] == [4] * 120
    monkeypatch.setattr(server, "run", fail_at_second)
    with pytest.raises(CacheUnavailable):
        await one.share()
    await one.share()
    assert commands == [50, 50, 50, 20]
    remaining = [verdict.remaining for verdict in await other.exchange(*((POLICY, caller) for caller in callers))]
    assert remaining == [6] * 120
    assert [one.peek(POLICY, caller).remaining for caller in callers] == [6] * 120


async def test_counts_of_windows_that_ended_during_an_outage_are_dropped(server: Server, clock: list[float]) -> None:
    unavailable = connect("redis://127.0.0.1:1")
    limiter = Limiter(unavailable)
    for number in range(100):
        limiter.take(POLICY, str(number))
        clock[0] += 60
        limiter.take(POLICY, "last")
        with pytest.raises(CacheUnavailable):
            await limiter.share()
    assert (held(limiter), len(limiter._counted)) == (1, 1)
    await unavailable.close()
