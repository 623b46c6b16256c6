from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from deployments.sandbox.postgres import enable_query_statistics, prepare_postgres
from deployments.sandbox.processes import running
from tests.support.aliases import Demo
from wishcraft.reports.sections import storage
from wishcraft.resources import Resources
from wishcraft.store import statistics
from wishcraft.store.engine import Database
from wishcraft.store.statistics import TableUse

ROWS = 60_000


@pytest.fixture
def ledger(demo: Demo) -> Iterator[None]:
    """A table of many rows with an index that is used, one that is not, and a key."""
    demo.execute("CREATE TABLE ledger (id bigint PRIMARY KEY, used bigint, idle bigint)")
    demo.execute("INSERT INTO ledger SELECT n, n, n FROM generate_series(1, %s) n", [ROWS])
    demo.execute("SELECT pg_stat_force_next_flush()")  # or they come after the VACUUM, and count once more
    demo.execute("CREATE INDEX ledger_used ON ledger (used)")
    demo.execute("CREATE INDEX ledger_idle ON ledger (idle)")
    demo.execute("VACUUM ANALYZE ledger")
    demo.execute("SELECT idle FROM ledger WHERE used = 7")
    demo.execute("SELECT pg_stat_force_next_flush()")
    yield
    demo.execute("DROP TABLE ledger")


@pytest.mark.usefixtures("ledger")
async def test_an_unused_index_is_distinguished_from_a_used_one_and_from_a_key(resources: Resources) -> None:
    async with resources.db.repeatable_read() as session:
        found = {each.name: each for each in await statistics.find_indexes(session) if each.table == "ledger"}
    assert [row[0] for row in storage.unused_indexes(list(found.values()), None).rows] == ["ledger_idle"]
    assert found["ledger_pkey"].is_constraint
    assert found["ledger_used"].uses == 1


@pytest.mark.usefixtures("ledger")
async def test_a_rebuilt_index_is_dense_and_one_with_free_space_is_bloated(resources: Resources, demo: Demo) -> None:
    async def bloated() -> list[str]:
        async with resources.db.repeatable_read() as session:
            found = await statistics.find_indexes(session)
        return [row[0] for row in storage.bloated_indexes([each for each in found if each.table == "ledger"]).rows]

    assert await bloated() == []
    demo.execute("DELETE FROM ledger WHERE id % 10 > 0")
    demo.execute("VACUUM ANALYZE ledger")
    assert await bloated() == ["ledger_idle", "ledger_pkey", "ledger_used"]
    demo.execute("REINDEX TABLE ledger")
    assert await bloated() == []


@pytest.mark.usefixtures("ledger")
async def test_table_statistics_have_rows_sizes_and_sequential_scans(resources: Resources, demo: Demo) -> None:
    async def read_ledger() -> TableUse:
        demo.execute("SELECT pg_stat_force_next_flush()")
        async with resources.db.repeatable_read() as session:
            return next(each for each in await statistics.find_tables(session) if each.name == "ledger")

    before = await read_ledger()
    demo.execute("SELECT sum(idle + used) FROM ledger")
    demo.execute("DELETE FROM ledger WHERE id <= 1000")
    after = await read_ledger()
    assert before.live == ROWS
    assert before.bytes_all > before.bytes_of_indexes > 0
    assert after.scans > before.scans
    assert (before.dead, after.dead) == (0, 1000)


async def test_slow_queries_are_listed_without_their_values(administrator_url: str, resources: Resources) -> None:
    marker = f"slow_{uuid4().hex}"  # the server also has the statistics of other tests and of its own start
    async with resources.db.repeatable_read() as session:
        assert await statistics.find_slow_queries(session, 10) is None
    enable_query_statistics(administrator_url)
    try:
        async with resources.db.transaction() as session:
            await session.execute(text(f"SELECT pg_sleep(0.2) AS {marker}, 'Chloe Laurent' AS name"))
        async with resources.db.repeatable_read() as session:
            found = await statistics.find_slow_queries(session, 1000)
        assert found
        [slow] = [each for each in found if marker in each.text]
        assert slow.calls == 1
        assert slow.mean_ms >= 200
        assert "Chloe" not in slow.text
    finally:
        with psycopg.connect(administrator_url, autocommit=True) as administrator:
            administrator.execute("DROP EXTENSION pg_stat_statements")


async def test_an_extension_that_is_not_preloaded_yields_no_slow_queries(tmp_path: Path) -> None:
    server = prepare_postgres(tmp_path, durable=False)
    argv = (*server.program.argv, "-c", "shared_preload_libraries=")
    with running(replace(server.program, argv=argv), server.ready, tmp_path / "postgres.log"):
        enable_query_statistics(server.url)
        db = Database(server.url.replace("postgresql", "postgresql+psycopg", 1))
        async with db.repeatable_read() as session:
            assert await statistics.find_slow_queries(session, 10) is None
            assert await statistics.find_tables(session) == []
        await db.close()
