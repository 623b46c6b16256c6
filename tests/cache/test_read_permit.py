import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.clock import Clock
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache import read_permit
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.read_permit import PERMIT_SECONDS, Pending, ReadPermit, Trust
from wishcraft.cache.registries import CacheState, RegistryCache
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import DatabaseUnavailable

SHOP, SLUG = 7, "smith"
OLD = CachedRegistry(1, AccessLevel.OPEN, 0, b"old")
NEW = CachedRegistry(2, AccessLevel.OPEN, 0, b"new")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def answering(pending: Pending | Exception | None) -> Callable[[], Awaitable[Pending | None]]:
    async def find_pending() -> Pending | None:
        if isinstance(pending, Exception):
            raise pending
        return pending

    return find_pending


async def test_permit_is_valid_for_a_second_from_the_question(clock: Clock) -> None:
    async def find_pending() -> Pending:
        clock.now += 0.4
        return frozenset({(SHOP, "pending")})

    permit = ReadPermit(find_pending, clock=clock)
    assert permit.trust(SHOP, SLUG) is Trust.EXPIRED
    await permit.renew()
    assert (permit.trust(SHOP, SLUG), permit.trust(SHOP, "pending")) == (Trust.CURRENT, Trust.PENDING)
    assert permit.trust(SHOP + 1, "pending") is Trust.CURRENT
    clock.now += PERMIT_SECONDS - 0.4
    assert (permit.trust(SHOP, SLUG), permit.trust(SHOP, "pending")) == (Trust.EXPIRED, Trust.EXPIRED)


async def test_too_many_pending_invalidations_make_all_pending(clock: Clock) -> None:
    permit = ReadPermit(answering(None), clock=clock)
    await permit.renew()
    assert permit.trust(SHOP, SLUG) is Trust.PENDING
    assert permit.has_pending


async def test_silent_postgresql_ends_no_permit_early_and_keeps_what_was_pending(clock: Clock) -> None:
    permit = ReadPermit(answering(DatabaseUnavailable("down")), clock=clock)
    permit.renew_from(clock.now, frozenset({(SHOP, "pending")}))
    await permit.renew()
    assert permit.trust(SHOP, SLUG) is Trust.CURRENT
    clock.now += PERMIT_SECONDS
    assert (permit.trust(SHOP, SLUG), permit.trust(SHOP, "pending")) == (Trust.SILENT, Trust.PENDING)
    permit.renew_from(clock.now, frozenset())
    assert permit.trust(SHOP, "pending") is Trust.CURRENT


async def test_answer_that_was_overtaken_by_a_later_question_is_ignored(clock: Clock) -> None:
    permit = ReadPermit(answering(frozenset()), clock=clock)
    permit.renew_from(clock.now, frozenset({(SHOP, SLUG)}))
    permit.renew_from(clock.now - 0.5, frozenset())
    assert permit.trust(SHOP, SLUG) is Trust.PENDING


async def test_question_that_hangs_holds_up_none_after_one_that_was_answered(
    clock: Clock,
) -> None:
    hangs, questions = asyncio.Event(), 0

    async def find_pending() -> Pending:
        nonlocal questions
        questions += 1
        if questions == 1:
            await hangs.wait()
        return frozenset()

    permit = ReadPermit(find_pending, clock=clock, answer_seconds=0.01)
    await permit.renew()
    permit.answer_seconds = PATIENCE_SECONDS
    for _ in range(3):
        clock.now += PERMIT_SECONDS
        await permit.renew()
        assert permit.trust(SHOP, SLUG) is Trust.CURRENT
    assert questions == 4
    await permit.stop()


async def test_log_says_once_why_postgresql_did_not_answer(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    permit = ReadPermit(answering(DatabaseUnavailable("the login was refused")), clock=clock)
    for _ in range(2):
        await permit.renew()
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert lines == [
        "PostgreSQL does not answer; what Redis has is served as stale until it does: the login was refused"
    ]


async def test_question_that_fails_after_a_later_one_was_answered_says_nothing(clock: Clock) -> None:
    fails = asyncio.Event()

    async def find_pending() -> Pending:
        await fails.wait()
        raise DatabaseUnavailable("the connection was lost")

    permit = ReadPermit(find_pending, clock=clock)
    asking = asyncio.create_task(permit.renew())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it has asked
    clock.now += 0.2
    permit.renew_from(clock.now, frozenset())
    fails.set()
    await asking
    assert permit.trust(SHOP, SLUG) is Trust.CURRENT
    clock.now += PERMIT_SECONDS
    assert permit.trust(SHOP, SLUG) is Trust.EXPIRED


async def test_hanging_question_is_repeated_on_other_connections_and_bounded(
    clock: Clock,
) -> None:
    answer, questions = asyncio.Event(), 0

    async def find_pending() -> Pending:
        nonlocal questions
        questions += 1
        await answer.wait()
        return frozenset()

    permit = ReadPermit(find_pending, clock=clock, answer_seconds=0.01)
    await asyncio.gather(permit.renew(), permit.renew())
    assert questions == 1
    for _ in range(5):
        await permit.renew()
    assert questions == read_permit.MAX_QUESTIONS
    assert permit.trust(SHOP, SLUG) is Trust.SILENT
    permit.answer_seconds = PATIENCE_SECONDS
    answer.set()
    await permit.renew()
    assert permit.trust(SHOP, SLUG) is Trust.CURRENT
    await permit.stop()


@pytest.mark.parametrize(
    ("pending", "state", "body"),
    [
        (frozenset(), CacheState.HIT, b"old"),
        (frozenset({(SHOP, SLUG)}), CacheState.BYPASS, b"new"),
        (None, CacheState.BYPASS, b"new"),
        (DatabaseUnavailable("down"), CacheState.STALE, b"old"),
    ],
)
async def test_read_uses_the_entry_as_far_as_it_is_trusted(
    cache: RegistryCache, pending: Pending | Exception | None, state: CacheState, body: bytes
) -> None:
    async def load() -> CachedRegistry:
        return NEW

    lease = (await cache.lease(SHOP, [SLUG]))[SLUG]
    assert isinstance(lease, Lease)
    await cache.fill(SHOP, {SLUG: (lease, make_entry(OLD, lease.era, now_ms()))})
    cache.permit = ReadPermit(answering(pending))
    result = await cache.read(SHOP, SLUG, load)
    assert (result.state, result.entry.body) == (state, body)


async def test_entry_that_appears_while_postgresql_is_silent_is_no_hit(cache: RegistryCache) -> None:
    other = (await cache.lease(SHOP, [SLUG]))[SLUG]
    assert isinstance(other, Lease)
    cache.permit = ReadPermit(answering(DatabaseUnavailable("down")))

    async def load() -> CachedRegistry:
        await cache.fill(SHOP, {SLUG: (other, make_entry(OLD, other.era, now_ms()))})
        return NEW

    result = await cache.read(SHOP, SLUG, load)
    assert (result.state, result.entry.body) == (CacheState.BYPASS, b"new")


async def test_late_answer_holds_for_readers_who_came_before_the_question(clock: Clock) -> None:
    async def find_pending() -> Pending:
        clock.now += 5  # the process was too busy to read the answer
        return frozenset({(SHOP, "pending")})

    permit = ReadPermit(find_pending, clock=clock)
    before = clock.now
    await permit.renew()
    assert permit.trust(SHOP, SLUG) is Trust.EXPIRED
    assert permit.trust(SHOP, SLUG, arrived=before) is Trust.CURRENT
    assert permit.trust(SHOP, "pending", arrived=before) is Trust.PENDING
    assert permit.trust(SHOP, SLUG, arrived=before + 1) is Trust.EXPIRED


async def test_reader_of_an_earlier_question_waits_for_the_next(clock: Clock) -> None:
    questions = 0

    async def find_pending() -> Pending:
        nonlocal questions
        questions += 1
        clock.now += 5
        return frozenset()

    permit = ReadPermit(find_pending, clock=clock)

    async def trust_later() -> Trust:
        clock.now += 1  # the first question is under way
        return await permit.wait_for_trust(SHOP, SLUG)

    async def find_slowly() -> Pending:
        late.append(asyncio.create_task(trust_later()))
        await asyncio.sleep(0)
        return await find_pending()

    late: list[asyncio.Task[Trust]] = []
    permit._find_pending = find_slowly
    assert await permit.wait_for_trust(SHOP, SLUG) is Trust.CURRENT
    permit._find_pending = find_pending
    assert await late[0] is Trust.CURRENT
    assert questions == 2
