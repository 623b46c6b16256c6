import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from tests.support.aliases import Demo
from tests.support.waiting import wait_until
from wishcraft.errors import CacheUnavailable, DatabaseRefused, DatabaseUnavailable, in_words
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import locks
from wishcraft.store.connections import read_revision
from wishcraft.store.engine import Database
from wishcraft.store.statements import Statement

NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/none"
BACKEND = Statement(text("SELECT pg_backend_pid()"))
ASLEEP = Statement(text("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"))
PREPARED = Statement(text("SELECT name, statement FROM pg_prepared_statements ORDER BY name"))
ALTERED = Statement(text("SELECT number FROM altered"))
UNITS = ["autocommit", "transaction", "repeatable_read", "connection"]


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """A pool of one connection."""
    db = Database(settings.database_url, pool_size=1)
    yield db
    await db.close()


def driver_error(error: pytest.ExceptionInfo[Exception]) -> BaseException | None:
    """The error that psycopg raised."""
    cause: BaseException | None = getattr(error.value.__cause__, "orig", None)
    return cause


async def run(db: Database, unit: str, *statements: str) -> None:
    async with getattr(db, unit)() as session:
        for statement in statements:
            await session.execute(text(statement))


@pytest.mark.parametrize("unit", UNITS)
async def test_a_refused_connection_is_database_unavailable(unit: str) -> None:
    nowhere = Database(NOWHERE)
    with pytest.raises(DatabaseUnavailable, match="Connection refused") as error:
        await run(nowhere, unit, "SELECT 1")
    assert isinstance(driver_error(error), psycopg.OperationalError)
    assert "SELECT" not in str(error.value)


async def test_options_of_the_url_count_beside_the_pools_own(settings: Settings) -> None:
    url = f"{settings.database_url}?options=-csearch_path%3Dapp%20-cwork_mem%3D9MB%20-cstatement_timeout%3D0"
    db = Database(url, pool_size=1)
    shown = [Statement(text(f"SHOW {name}")) for name in ("search_path", "work_mem", "statement_timeout", "timezone")]
    try:
        assert await db.fetch_each([each() for each in shown]) == [[("app",)], [("9MB",)], [("30s",)], [("UTC",)]]
    finally:
        await db.close()


async def test_what_the_url_says_of_a_connection_counts_before_the_pools_own(settings: Settings) -> None:
    url = f"{settings.database_url}?connect_timeout=9&application_name=gifts&keepalives_idle=60&tcp_user_timeout=4000"
    db = Database(url, pool_size=1)
    try:
        for connected in (db.connection, db.own_connection):
            async with connected() as connection:
                used = (await connection.get_raw_connection()).driver_connection
                assert used
                names = ["connect_timeout", "application_name", "keepalives_idle", "tcp_user_timeout"]
                parameters = used.info.get_parameters()
                assert [parameters[name] for name in names] == ["9", "gifts", "60", "4000"]
                assert parameters["keepalives_count"] == "3"  # not in the URL
    finally:
        await db.close()


async def test_locks_and_the_health_probe_raise_database_unavailable() -> None:
    nowhere = Database(NOWHERE)
    with pytest.raises(DatabaseUnavailable):
        await read_revision(nowhere)
    for lock in (locks.acquire, locks.try_acquire):
        with pytest.raises(DatabaseUnavailable):
            async with lock(nowhere, "sync", 1):
                pass


@pytest.mark.parametrize("unit", UNITS)
async def test_a_killed_backend_is_database_unavailable_and_the_next_unit_works(db: Database, unit: str) -> None:
    with pytest.raises(DatabaseUnavailable) as error:
        await run(db, unit, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(driver_error(error), errors.AdminShutdown)
    await run(db, unit, "SELECT 1")


def kill(settings: Settings, pid: int) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.mark.parametrize("unit", UNITS)
async def test_connection_that_was_closed_while_idle_is_replaced(db: Database, settings: Settings, unit: str) -> None:
    [[pid]] = await db.fetch(BACKEND())
    kill(settings, pid)
    await run(db, unit, "SELECT 1")


@pytest.mark.parametrize("unit", UNITS)
async def test_postgresql_that_closes_each_connection_is_database_unavailable(
    db: Database, settings: Settings, unit: str
) -> None:
    def lose(connection: Any, *_: object) -> None:
        kill(settings, connection.driver_connection.info.backend_pid)

    event.listen(db.engine.sync_engine, "checkout", lose, insert=True)
    with pytest.raises(DatabaseUnavailable):
        await run(db, unit, "SELECT 1")
    with pytest.raises(DatabaseUnavailable):
        await db.fetch(BACKEND())


async def test_read_on_a_lost_connection_is_tried_once_more(db: Database, settings: Settings) -> None:
    lost: list[int] = []

    def lose(connection: Any, *_: object) -> None:
        if len(lost) < most:
            lost.append(connection.driver_connection.info.backend_pid)
            kill(settings, lost[-1])

    event.listen(db.engine.sync_engine, "checkout", lose)
    most = 1
    [[pid]] = await db.fetch(BACKEND())
    assert lost
    assert pid not in lost
    lost.clear()
    most = 2
    with pytest.raises(DatabaseUnavailable):
        await db.fetch(BACKEND())
    assert len(lost) == 2
    assert await db.fetch(BACKEND())


@pytest.mark.parametrize("last", ["SELECT 1", "SELECT 1 / CAST(0 AS int)"])
async def test_connection_left_within_a_transaction_is_rolled_back(db: Database, last: str) -> None:
    set_zone = Statement(text("SET timezone = 'Asia/Tokyo'"))
    with pytest.raises((RuntimeError, DatabaseRefused)):  # noqa: PT012  as a writer fails
        async with db.write([set_zone()]) as transaction:
            await transaction.driver.run([Statement(text(last))()])
            raise RuntimeError("left")
    assert await db.fetch(Statement(text("SHOW timezone"))()) == [("UTC",)]


async def test_error_of_a_commit_without_begin_is_postgresqls_and_costs_no_connection(db: Database, demo: Demo) -> None:
    demo.execute("CREATE TABLE deferred (number int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    store = Statement(text("INSERT INTO deferred SELECT CAST(:number AS int) FROM generate_series(1, 2)"))
    [[pid]] = await db.fetch(BACKEND())
    with pytest.raises(errors.UniqueViolation):
        await db.fetch_each([store(number=1), BACKEND()], only_reads=False)
    assert await db.fetch_each([BACKEND(), BACKEND()]) == [[(pid,)], [(pid,)]]
    assert demo.execute("SELECT FROM deferred").fetchall() == []
    demo.execute("DROP TABLE deferred")


@pytest.fixture
def altered(demo: Demo) -> Iterator[Callable[[], object]]:
    """Makes a table, and then changes its column's type as a migration does."""
    demo.execute("CREATE TABLE altered AS SELECT 1 AS number")
    yield lambda: demo.execute("ALTER TABLE altered ALTER COLUMN number TYPE bigint")
    demo.execute("DROP TABLE altered")


async def test_read_goes_on_after_a_migration_has_changed_a_type(db: Database, altered: Callable[[], object]) -> None:
    reads = [[ALTERED()], [ALTERED(), BACKEND()]]
    before = [await db.fetch_each(calls) for calls in reads]
    altered()
    for calls, rows in zip(reads, before, strict=True):
        assert await db.fetch_each(calls) == rows


async def test_statement_outside_of_a_transaction_is_repeated_after_a_migration(
    db: Database, altered: Callable[[], object]
) -> None:
    store = Statement(text("INSERT INTO altered SELECT max(number) + 1 FROM altered"))

    async def write() -> list[list[tuple[Any, ...]]]:
        return await db.fetch_each([store(), ALTERED()], only_reads=False)

    assert await write() == [[], [(1,), (2,)]]
    altered()
    assert await write() == [[], [(1,), (2,), (3,)]]  # once


async def test_write_begins_anew_after_a_migration_has_changed_a_type(
    db: Database, altered: Callable[[], object]
) -> None:
    store = Statement(text("INSERT INTO altered SELECT max(number) + 1 FROM altered"))

    async def write() -> list[list[tuple[Any, ...]]]:
        async with db.write([store(), ALTERED()]) as transaction:
            await transaction.driver.run([store()])
            await transaction.driver.commit([])
            return transaction.first

    await write()
    altered()
    assert await write() == [[], [(1,), (2,), (3,), (4,)]]
    assert len(await db.fetch(ALTERED())) == 5


async def test_write_within_which_a_statement_is_outdated_fails_once_and_stores_nothing(
    db: Database, altered: Callable[[], object]
) -> None:
    store = Statement(text("INSERT INTO altered VALUES (2)"))

    async def write() -> None:
        async with db.write([store()]) as transaction:
            await transaction.driver.run([store(), ALTERED()])
            await transaction.driver.commit([])

    await write()
    altered()
    with pytest.raises(DatabaseUnavailable, match="cached plan"):
        await write()
    assert len(await db.fetch(ALTERED())) == 3
    await write()
    assert len(await db.fetch(ALTERED())) == 5


async def test_read_after_a_commit_is_repeated_after_a_migration_has_changed_a_type(
    db: Database, altered: Callable[[], object]
) -> None:
    store = Statement(text("INSERT INTO altered VALUES (2)"))

    async def write() -> list[list[tuple[Any, ...]]] | None:
        async with db.write([store()]) as transaction:
            return await transaction.driver.commit([ALTERED()])

    await write()
    altered()
    assert await write() == [[(1,), (2,), (2,)]]


@pytest.mark.parametrize("unit", UNITS)
async def test_session_goes_on_after_a_migration_has_changed_a_type(
    db: Database, altered: Callable[[], object], unit: str
) -> None:
    for _ in range(10):
        await run(db, unit, "SELECT number FROM altered")
    altered()
    await run(db, unit, "SELECT number FROM altered")


async def test_rollback_of_a_session_keeps_the_prepared_statements(db: Database) -> None:
    before = await db.fetch(PREPARED())
    for _ in range(10):
        with pytest.raises(RuntimeError, match="rolled back"):  # noqa: PT012  as a failing job
            async with db.transaction() as session:
                await session.execute(text("SELECT 1"))
                raise RuntimeError("rolled back")
    assert await db.fetch(PREPARED()) == before


async def test_statements_after_one_that_fails_do_not_run_and_can_be_prepared_later(db: Database) -> None:
    fail, after = Statement(text("SELECT 1 / CAST(:zero AS int)")), Statement(text("SELECT CAST(:value AS bytea)"))
    for _ in range(2):
        with pytest.raises(DatabaseRefused):
            await db.fetch_each([BACKEND(), fail(zero=0), after(value=b"\0\xff")])
    assert await db.fetch_each([after(value=b"\0\xff"), fail(zero=1)]) == [[(b"\0\xff",)], [(1,)]]


async def test_value_that_cannot_be_sent_leaves_the_connection_as_it_was(db: Database) -> None:
    echo = Statement(text("SELECT CAST(:value AS text)"))
    [[pid]] = await db.fetch(BACKEND())
    with pytest.raises(DatabaseRefused):
        await db.fetch_each([BACKEND(), echo(value="a\0b")])
    assert await db.fetch_each([BACKEND(), echo(value="ab")]) == [[(pid,)], [("ab",)]]


async def test_cancelled_statement_costs_the_pool_no_connection(db: Database) -> None:
    sleep = Statement(text("SELECT pg_sleep(60)"))
    task = asyncio.create_task(db.fetch_each([BACKEND(), sleep()]))

    async def is_asleep() -> bool:
        return bool(await observer.fetch(ASLEEP()))

    observer = Database(db.engine.url.render_as_string(hide_password=False), pool_size=1)
    await wait_until(is_asleep)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.fetch(BACKEND())
    await observer.close()


async def test_a_backend_killed_before_the_commit_is_database_unavailable(db: Database, settings: Settings) -> None:
    with pytest.raises(DatabaseUnavailable):  # noqa: PT012  the commit, on leaving the block, is what fails
        async with db.transaction() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            kill(settings, pid)


async def test_a_lock_timeout_is_database_unavailable(db: Database, resources: Resources) -> None:
    async with resources.db.transaction() as session:
        await session.execute(text("LOCK TABLE shops IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailable, match="lock timeout") as error:
            await run(db, "transaction", "SET LOCAL lock_timeout = '50ms'", "SELECT * FROM shops")
    assert isinstance(driver_error(error), errors.LockNotAvailable)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("statement_timeout", errors.QueryCanceled),
        ("transaction_timeout", errors.TransactionTimeout),
    ],
)
async def test_a_timeout_of_postgresql_is_database_unavailable(
    db: Database, setting: str, kind: type[psycopg.Error]
) -> None:
    with pytest.raises(DatabaseUnavailable, match="timeout") as error:
        await run(db, "transaction", f"SET LOCAL {setting} = '50ms'", "SELECT pg_sleep(10)")
    assert isinstance(driver_error(error), kind)


async def test_an_idle_transaction_that_was_ended_is_database_unavailable(db: Database, resources: Resources) -> None:
    with pytest.raises(DatabaseUnavailable):  # noqa: PT012  the query after the timeout is what fails
        async with db.transaction() as session:
            await session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10ms'"))
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()

            async def has_ended() -> bool:
                async with resources.db.autocommit() as other:
                    found = await other.execute(text("SELECT FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
                    return found.first() is None

            await wait_until(has_ended)
            await session.execute(text("SELECT 1"))


async def test_a_serialization_failure_is_database_unavailable(db: Database, resources: Resources) -> None:
    update_shop = text("UPDATE shops SET plan = plan WHERE id = 1")
    with pytest.raises(DatabaseUnavailable) as error:  # noqa: PT012  the second writer is what fails
        async with db.transaction() as session:
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await session.execute(text("SELECT 1 FROM shops"))
            async with resources.db.transaction() as other:
                await other.execute(update_shop)
            await session.execute(update_shop)
    assert isinstance(driver_error(error), errors.SerializationFailure)


async def test_an_exhausted_pool_is_database_unavailable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    db = Database(settings.database_url, pool_size=1)
    monkeypatch.setattr(db.engine.sync_engine.pool, "_timeout", 0.05)
    async with db.connection():
        for unit in UNITS:
            with pytest.raises(DatabaseUnavailable, match="QueuePool limit"):
                await run(db, unit, "SELECT 1")
    await run(db, "transaction", "SELECT 1")
    await db.close()


@pytest.mark.parametrize("statement", ["SELECT CAST('emma' AS int)", "SELECT 1/0", "SELECT 2147483647 + 1"])
async def test_a_value_that_postgresql_refuses_is_database_refused(db: Database, statement: str) -> None:
    with pytest.raises(DatabaseRefused) as error:
        await run(db, "transaction", statement)
    refused = driver_error(error)
    assert isinstance(refused, psycopg.DataError)
    assert str(error.value) == in_words(refused)  # without the value


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO shops SELECT * FROM shops", IntegrityError),
        ("SELECT * FROM no_such_table", ProgrammingError),
    ],
)
async def test_bugs_keep_their_own_error(db: Database, statement: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await run(db, "transaction", statement)


@pytest.mark.parametrize("raised", [CacheUnavailable("no answer"), TimeoutError(), OSError("of another system")])
async def test_errors_of_other_systems_pass_unchanged(db: Database, raised: Exception) -> None:
    with pytest.raises(type(raised)) as error:
        async with db.transaction():
            raise raised
    assert error.value is raised
