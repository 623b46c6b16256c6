import asyncio
import sys

import pytest
from sqlalchemy import text

from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.resources import Resources
from wishcraft.store import locks
from wishcraft.store.engine import Database

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND strpos(query, 'INSERT INTO locks') > 0 AND pid NOT IN (SELECT pid FROM locks)
    AND pid <> pg_backend_pid()
"""
CONTENDERS = 6
HOLDER = """
import asyncio, sys
from wishcraft.store import locks
from wishcraft.store.engine import Database

async def main():
    async with locks.acquire(Database(sys.argv[1]), "sync", 1):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def another_process(db: Database) -> Database:
    """The same database as another process sees it: tasks of one process share a lock before they use PostgreSQL's."""
    return Database(db.engine.url.render_as_string(hide_password=False))


async def has(db: Database, name: str = "sync", shop: int | str = 1) -> bool:
    async with locks.try_acquire(another_process(db), name, shop) as acquired:
        return acquired


async def test_a_lock_has_one_holder_and_is_free_afterwards(resources: Resources) -> None:
    async with locks.try_acquire(resources.db, "sync", 1) as acquired:
        assert acquired
        assert not await has(resources.db)
    assert await has(resources.db)


async def test_locks_of_other_names_and_shops_are_independent(resources: Resources) -> None:
    async with locks.acquire(resources.db, "sync", 1):
        assert await has(resources.db, "reminders", 1)
        assert await has(resources.db, "sync", 2)


async def test_failed_work_releases_its_lock(resources: Resources) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with locks.acquire(resources.db, "sync", 1):
                _ = 1 / 0
    assert await has(resources.db)


async def test_cancelled_work_releases_its_lock(resources: Resources) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with locks.acquire(resources.db, "sync", 1):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await has(resources.db)


@pytest.mark.parametrize("in_one_process", [False, True])
async def test_a_waiter_gets_the_lock_after_its_release(resources: Resources, *, in_one_process: bool) -> None:
    order: list[str] = []
    db = resources.db if in_one_process else another_process(resources.db)

    async def second() -> None:
        async with locks.acquire(db, "sync", 1):
            order.append("second")

    async with locks.acquire(resources.db, "sync", 1):
        waiting = asyncio.create_task(second())
        if in_one_process:
            assert not await _tries(resources.db)
        else:
            await _until_a_process_waits(resources.db)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_killed_process_releases_its_lock_at_once(resources: Resources) -> None:
    url = resources.db.engine.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    assert await process.stdout.readline() == b"held\n"
    assert not await has(resources.db)
    process.kill()
    await process.wait()
    async with asyncio.timeout(PATIENCE_SECONDS), locks.acquire(resources.db, "sync", 1):
        assert process.returncode


async def test_a_holder_has_no_open_transaction(resources: Resources) -> None:
    states = """SELECT array_agg(a.state || ' ' || (a.backend_xid IS NULL) || ' ' || (a.backend_xmin IS NULL))
                FROM pg_stat_activity a JOIN locks USING (pid)"""
    async with locks.acquire(resources.db, "sync", 1), resources.db.engine.connect() as connection:
        assert (await connection.exec_driver_sql(states)).scalar_one() == ["idle true true"]


async def test_one_of_many_contenders_gets_the_lock_of_a_dead_holder(resources: Resources) -> None:
    dead = "INSERT INTO locks VALUES ('sync:1', pg_backend_pid(), now() - interval '1 day')"  # a reused process id
    async with resources.db.engine.begin() as connection:
        await connection.exec_driver_sql(dead)
        await connection.commit()
        contended = asyncio.Event()
        taken: list[bool] = []

        async def contend() -> None:
            async with locks.try_acquire(another_process(resources.db), "sync", 1) as acquired:
                taken.append(acquired)
                if len(taken) == CONTENDERS:
                    contended.set()
                await contended.wait()

        await asyncio.gather(*(contend() for _ in range(CONTENDERS)))
    assert sorted(taken) == [False] * (CONTENDERS - 1) + [True]


async def test_locks_leave_no_rows(resources: Resources) -> None:
    async with locks.acquire(resources.db, "sync", 1), locks.try_acquire(another_process(resources.db), "sync", 1):
        pass
    async with resources.db.engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM locks")).scalar_one() == 0


async def test_holders_leave_the_pool_to_their_work(resources: Resources) -> None:
    async def work(shop: int) -> None:
        async with locks.acquire(resources.db, "token", shop), resources.db.transaction() as session:
            await session.execute(text("SELECT 1"))

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(work(number % 25) for number in range(50)))


async def test_lock_of_before_a_restart_of_postgresql_is_free(resources: Resources) -> None:
    # Its process id now belongs to a process of PostgreSQL itself, whose start is not shown to the application.
    old = """INSERT INTO locks SELECT 'sync:1', pid, '2020-01-01' FROM pg_stat_activity
             WHERE backend_start IS NULL ORDER BY pid LIMIT 1"""
    async with resources.db.engine.begin() as connection:
        assert (await connection.exec_driver_sql(old)).rowcount == 1
    assert await has(resources.db)


async def _tries(db: Database) -> bool:
    async with locks.try_acquire(db, "sync", 1) as acquired:
        return acquired


async def _until_a_process_waits(db: Database) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with db.engine.connect() as connection:
                if (await connection.exec_driver_sql(WAITING)).scalar_one():
                    return
