"""One looks, all are told, and nobody looks again while it is good."""

import asyncio
import time

import pytest

from wishcraft.observability.context import current_context, log_context
from wishcraft.services.health.single_flight import SingleFlightCache


class Question:
    """Answers with how often it was asked, once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.fails = False

    async def __call__(self) -> int:
        self.asked += 1
        await self.may_answer.wait()
        if self.fails:
            raise OSError("away")
        return self.asked


async def test_however_many_ask_one_looks(question: Question) -> None:
    latest = SingleFlightCache(question, 60)
    asking = [asyncio.create_task(latest.get()) for _ in range(500)]
    await asyncio.sleep(0)
    question.may_answer.set()
    assert set(await asyncio.gather(*asking)) == {1}
    assert await latest.get() == 1
    assert question.asked == 1


async def test_what_is_no_longer_good_is_looked_for_again(question: Question) -> None:
    latest = SingleFlightCache(question, 0)
    question.may_answer.set()
    assert [await latest.get(), await latest.get()] == [1, 2]


async def test_who_gives_up_leaves_the_search_to_the_others(question: Question) -> None:
    latest = SingleFlightCache(question, 60)
    first, second = asyncio.create_task(latest.get()), asyncio.create_task(latest.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    question.may_answer.set()
    assert await second == 1


async def test_a_failure_is_everybodys_and_is_not_kept(question: Question) -> None:
    latest = SingleFlightCache(question, 60)
    question.fails = True
    question.may_answer.set()
    found = await asyncio.gather(latest.get(), latest.get(), return_exceptions=True)
    assert [type(each) for each in found] == [OSError, OSError]
    question.fails = False
    assert await latest.get() == 2


async def test_who_has_no_patience_gets_what_is_known_however_old(question: Question) -> None:
    latest = SingleFlightCache(question, 0)
    assert await latest.within(0) is None
    question.may_answer.set()
    assert await latest.get() == 1
    question.may_answer.clear()
    assert await latest.within(0.001) == 1
    question.fails = True
    question.may_answer.set()
    assert await latest.within(60) == 1


async def test_a_search_under_way_ends_with_the_process(question: Question) -> None:
    latest = SingleFlightCache(question, 60)
    began = time.monotonic()
    await latest.within(0.001)
    await latest.close()
    assert question.asked == 1
    assert time.monotonic() - began < 60
    await latest.close()


@pytest.fixture
async def question() -> Question:
    return Question()


async def test_what_is_looked_for_is_told_of_nobodys_request() -> None:
    async def ask() -> dict[str, str]:
        return dict(current_context())

    with log_context(request_id="the-first-to-ask"):
        assert await SingleFlightCache(ask, 60).get() == {}
