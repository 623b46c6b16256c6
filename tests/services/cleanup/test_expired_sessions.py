from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from tests.support.aliases import Demo
from wishcraft.cache import keys
from wishcraft.cache.keys import SessionName
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.errors import RunStopped
from wishcraft.resources import Resources
from wishcraft.services.cleanup.expired import clean_orphans, clean_table
from wishcraft.store import retention

FOREVER = datetime.max.replace(tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def now(demo: Demo) -> datetime:
    demo.execute("TRUNCATE sessions")
    return datetime.now(UTC)


def add_row(demo: Demo, name: SessionName, expires_at: datetime) -> None:
    demo.execute(
        "INSERT INTO sessions (id, shop_id, kind, subject, expires_at) VALUES (%s, %s, 'guest_grant', 'smith', %s)",
        [name.session_id, name.shop_id, expires_at],
    )


async def put(resources: Resources, names: Sequence[SessionName], expires_at: datetime) -> None:
    for name in names:
        await resources.sessions.put(name, "smith", expires_at)


def orphans(count: int) -> list[SessionName]:
    return [SessionName(1, f"orphan-{number}") for number in range(count)]


async def test_a_session_without_a_live_row_is_dropped_and_others_stay(
    resources: Resources, demo: Demo, now: datetime
) -> None:
    live, expired, absent = (SessionName(1, each) for each in ("live", "expired", "absent"))
    add_row(demo, live, now + HOUR)
    add_row(demo, expired, now)
    await put(resources, [live, expired, absent], now + HOUR)
    assert await clean_orphans(resources, now, Bounds(10, FOREVER)) == {"old": 2, "deleted": 2, "left": 0}
    assert await resources.sessions.get(live) == "smith"
    assert await resources.sessions.get(expired) is None
    assert await resources.sessions.get(absent) is None
    assert await clean_orphans(resources, now, Bounds(10, FOREVER)) == {"old": 0, "deleted": 0, "left": 0}


async def test_a_row_of_another_shop_keeps_no_session_alive(resources: Resources, demo: Demo, now: datetime) -> None:
    add_row(demo, SessionName(2, "shared"), now + HOUR)
    await put(resources, [SessionName(1, "shared"), SessionName(2, "shared")], now + HOUR)
    assert (await clean_orphans(resources, now, Bounds(10, FOREVER)))["deleted"] == 1
    assert await resources.sessions.get(SessionName(2, "shared")) == "smith"


async def test_a_row_without_a_session_in_redis_is_kept(resources: Resources, demo: Demo, now: datetime) -> None:
    add_row(demo, SessionName(1, "unknown"), now + HOUR)
    await clean_orphans(resources, now, Bounds(10, FOREVER))
    await clean_table(resources, DataKind.SESSIONS, now, Bounds(10, FOREVER))
    assert demo.execute("SELECT id FROM sessions").fetchall() == [("unknown",)]


async def test_orphans_are_found_with_one_query_a_batch(
    resources: Resources, now: datetime, queries: list[str]
) -> None:
    await put(resources, orphans(250), now + HOUR)
    assert (await clean_orphans(resources, now, Bounds(100, FOREVER)))["deleted"] == 250
    assert len(queries) == 3


async def test_a_dry_run_counts_orphans_and_drops_none(resources: Resources, now: datetime) -> None:
    await put(resources, orphans(25), now + HOUR)
    assert await clean_orphans(resources, now, Bounds(10, FOREVER, dry_run=True)) == {
        "old": 25,
        "deleted": 0,
        "left": 25,
    }
    assert await resources.sessions.get(orphans(1)[0])


async def test_after_the_deadline_the_counts_say_unfinished(resources: Resources, now: datetime) -> None:
    await put(resources, orphans(25), now + HOUR)
    assert await clean_orphans(resources, now, Bounds(10, now)) == {
        "old": 0,
        "deleted": 0,
        "left": 0,
        "unfinished": 1,
    }
    assert await resources.sessions.get(orphans(1)[0])


async def test_a_stop_leaves_whole_batches_and_a_later_run_drops_the_rest(resources: Resources, now: datetime) -> None:
    await put(resources, orphans(25), now + HOUR)

    async def stop_at_the_second(done: int, _total: int) -> None:
        if done:
            raise RunStopped

    with pytest.raises(RunStopped):
        await clean_orphans(resources, now, Bounds(10, FOREVER), checkpoint=stop_at_the_second)
    assert (await clean_orphans(resources, now, Bounds(10, FOREVER)))["deleted"] == 15


async def test_cache_entries_of_registries_are_not_dropped_as_sessions(
    resources: Resources, redis: Redis, now: datetime
) -> None:
    await redis.set(keys.entry_key(1, "smith"), b"", ex=60)
    await clean_orphans(resources, now, Bounds(10, FOREVER))
    assert await redis.exists(keys.entry_key(1, "smith"))


async def test_no_cleanup_touches_a_shop_or_its_tokens(resources: Resources, demo: Demo, now: datetime) -> None:
    demo.execute("UPDATE shops SET token_expires_at = '2020-01-01Z', status = 'uninstalled' WHERE id = 1")
    shops = demo.execute("SELECT * FROM shops ORDER BY id").fetchall()
    add_row(demo, SessionName(1, "expired"), now - HOUR)
    await put(resources, orphans(5), now + HOUR)
    for kind in retention._AGING:
        await clean_table(resources, kind, now, Bounds(100, FOREVER))
    await clean_orphans(resources, now, Bounds(100, FOREVER))
    assert demo.execute("SELECT * FROM shops ORDER BY id").fetchall() == shops
    assert any(row is not None and isinstance(row, bytes) for row in shops[0])
