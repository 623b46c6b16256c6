"""Connections that the pools of tests leave to each other are as new."""

import psycopg
import pytest
from sqlalchemy import text

from tests.support import kept_connections
from tests.support.kept_connections import DatabaseOnKeptConnections, close_kept_connections
from tests.support.waiting import wait_until
from wishcraft.settings import Settings
from wishcraft.store.engine import Database
from wishcraft.store.statements import Statement

BACKEND = Statement(text("SELECT pg_backend_pid()"))


async def leave(settings: Settings, *statements: str) -> int:
    """The process id of a backend that has run these statements and whose pool is closed."""
    db = DatabaseOnKeptConnections(settings.database_url)
    async with db.connection() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    [[pid]] = await db.fetch(BACKEND())
    await db.close()
    await wait_until(has_discarded)
    return int(pid)


def has_discarded() -> bool:
    return all(kept_connections._is_readable(pgconn) for each in kept_connections._kept.values() for pgconn in each)


async def find(db: Database, query: str, **values: object) -> object:
    async with db.autocommit() as session:
        return (await session.execute(text(query), values)).scalar()


@pytest.fixture(autouse=True)
def _none_kept() -> None:
    close_kept_connections()


async def test_next_pool_gets_the_connection_without_what_its_session_held(settings: Settings) -> None:
    pid = await leave(
        settings,
        "SET lock_timeout = '1ms'",
        "PREPARE left_behind AS SELECT 1",
        "CREATE TEMP TABLE left_behind ()",
        "LISTEN left_behind",
        "SELECT pg_advisory_lock(1)",
    )
    db = DatabaseOnKeptConnections(settings.database_url)
    assert await is_used(db, pid)
    assert await find(db, "SHOW lock_timeout") == "5s"
    assert await find(db, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_behind'") == 0
    assert await find(db, "SELECT to_regclass('left_behind')") is None
    assert await find(db, "SELECT count(*) FROM pg_listening_channels()") == 0
    assert await find(db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0
    await db.close()


async def is_used(db: Database, pid: int) -> bool:
    [[found]] = await db.fetch(BACKEND())
    return bool(found == pid)


async def test_connection_that_postgresql_has_closed_is_not_used_again(settings: Settings) -> None:
    pid = await leave(settings)
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    db = DatabaseOnKeptConnections(settings.database_url)
    assert not await is_used(db, pid)
    await db.close()


async def test_pool_with_another_login_or_option_gets_a_new_connection(settings: Settings) -> None:
    pid = await leave(settings)
    for other in (f"{settings.database_url}?options=-csearch_path%3Dpublic", str(settings.database_replica_url)):
        db = DatabaseOnKeptConnections(other.replace("postgresql:", "postgresql+psycopg:"))
        assert not await is_used(db, pid)
        await db.close()


async def test_database_that_is_closed_twice_leaves_its_engine_to_one_other(settings: Settings) -> None:
    db = DatabaseOnKeptConnections(settings.database_url)
    await db.close()
    first = DatabaseOnKeptConnections(settings.database_url)
    await db.close()
    second = DatabaseOnKeptConnections(settings.database_url)
    assert first.engine is db.engine
    assert second.engine is not db.engine


async def test_connection_beside_the_pool_ends_with_its_block(settings: Settings) -> None:
    db = DatabaseOnKeptConnections(settings.database_url)
    async with db.own_connection() as connection:
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    async def has_ended() -> bool:
        return await find(db, "SELECT count(*) FROM pg_stat_activity WHERE pid = :pid", pid=pid) == 0

    await wait_until(has_ended)
    await db.close()
