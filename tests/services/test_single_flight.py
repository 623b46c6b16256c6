"""The cache of one loaded value that concurrent callers share."""

import asyncio

import pytest

from wishcraft.observability.context import current_context, log_context
from wishcraft.services.single_flight import SingleFlightCache


class Loader:
    """Returns how often it was called, once `released`."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = asyncio.Event()
        self.fails = False
        self.is_cancelled = False

    async def __call__(self) -> int:
        self.calls += 1
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self.fails:
            raise OSError("no connection")
        return self.calls


@pytest.fixture
async def loader() -> Loader:
    return Loader()


async def test_concurrent_callers_share_one_load(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 60)
    callers = [asyncio.create_task(cache.get()) for _ in range(500)]
    await asyncio.sleep(0)
    loader.released.set()
    assert set(await asyncio.gather(*callers)) == {1}
    assert await cache.get() == 1
    assert loader.calls == 1


async def test_an_expired_value_is_loaded_again(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 0)
    loader.released.set()
    assert [await cache.get(), await cache.get()] == [1, 2]


async def test_a_cancelled_caller_does_not_cancel_the_load_of_the_others(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 60)
    first, second = asyncio.create_task(cache.get()), asyncio.create_task(cache.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    loader.released.set()
    assert await second == 1


async def test_a_failed_load_is_raised_to_all_callers_and_not_cached(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 60)
    loader.fails = True
    loader.released.set()
    results = await asyncio.gather(cache.get(), cache.get(), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    loader.fails = False
    assert await cache.get() == 2


async def test_get_within_returns_the_stale_value_when_the_load_is_slow_or_fails(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 0)
    assert await cache.get_within(0) is None
    loader.released.set()
    assert await cache.get() == 1
    loader.released.clear()
    assert await cache.get_within(0.001) == 1
    loader.fails = True
    loader.released.set()
    assert await cache.get_within(60) == 1


async def test_close_cancels_a_running_load_and_can_be_repeated(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 60)
    await cache.get_within(0.001)
    await cache.close()  # waits for the load's end, which comes only by cancelling it
    assert loader.calls == 1
    assert loader.is_cancelled
    await cache.close()


async def test_a_load_runs_without_the_log_context_of_its_caller() -> None:
    async def load() -> dict[str, str]:
        return dict(current_context())

    with log_context(request_id="first-caller"):
        assert await SingleFlightCache(load, 60).get() == {}


async def test_latest_result_is_the_one_before_while_a_load_is_slow(loader: Loader) -> None:
    cache = SingleFlightCache(loader, 0)
    assert await cache.get_latest(0) is None
    loader.released.set()
    assert await cache.get_latest(60) == 1
    loader.fails = True
    with pytest.raises(OSError, match="no connection"):
        await cache.get_latest(60)
    loader.released.clear()
    with pytest.raises(OSError, match="no connection"):
        await cache.get_latest(0)
    loader.fails = False
    loader.released.set()
    assert await cache.get_latest(60) == 3
