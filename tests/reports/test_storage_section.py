from datetime import UTC, datetime

import pytest

from wishcraft.reports.page import MAX_CHARACTERS, render_sections
from wishcraft.reports.sections import storage
from wishcraft.store.statistics import IndexUse, SlowQuery, TableUse

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
MIB = 2**20


def table(live: int = 0, dead: int = 0, scans: int = 0, bytes_all: int = MIB) -> TableUse:
    return TableUse("registries", live, dead, NOW, scans, scans * live, 5, bytes_all, 0)


def index(uses: int = 0, size: int = MIB, dense: int = MIB, *, is_constraint: bool = False) -> IndexUse:
    return IndexUse("ix", "registries", uses, is_constraint, size, dense)


def test_slow_query_is_one_cut_and_redacted_line() -> None:
    text = "SELECT *\n  FROM shops WHERE email = 'jo@example.com'" + " OR true" * 100
    section = storage.slow_queries([SlowQuery(text, 1000, 2_500.0, 2.5, 40.0)])
    row = section.rows[0]
    assert row[:-1] == ("2.5", "1,000", "2.5 (40)")
    assert row[-1].startswith("SELECT * FROM shops")
    assert len(row[-1]) <= MAX_CHARACTERS
    assert row[-1].endswith((" OR …", " true …"))
    assert "jo@" not in row[-1]


def test_missing_query_statistics_are_explained() -> None:
    assert "shared_preload_libraries" in render_sections([storage.slow_queries(None)])


def test_table_of_sizes_has_formatted_sizes_and_bytes() -> None:
    rows = storage.table_rows([table(), table(live=7, bytes_all=3 * MIB)])
    assert [row["bytes"] for row in rows] == [3 * MIB, MIB]
    assert list(rows[0].items())[:4] == [
        ("table", "registries"), ("size", "3 MiB"), ("of it indexes", "0 B"), ("rows", 7),
    ]  # fmt: skip


def test_growth_is_the_difference_from_the_previous_report() -> None:
    earlier = storage.table_rows([table(bytes_all=3 * MIB)])
    assert storage.sizes([table(bytes_all=5 * MIB)], earlier, NOW).rows[0][-1] == "+2 MiB"
    assert storage.sizes([table(bytes_all=MIB)], earlier, NOW).rows[0][-1] == "-2 MiB"
    assert storage.sizes([table()], [], None).rows[0][-1] == "not known"


def test_large_table_with_many_sequential_scans_may_lack_an_index() -> None:
    assert storage.missing_indexes([table(live=10_000, scans=100)]).finding == "1 table that may lack an index"
    assert not storage.missing_indexes([table(live=9_999, scans=100), table(live=10_000, scans=99)]).finding


@pytest.mark.parametrize(
    ("entry", "unused"),
    [
        (index(), True),
        (index(uses=1), False),
        (index(is_constraint=True), False),
        (index(size=MIB - 1), False),
    ],
)
def test_index_is_unused_without_scans_or_constraint_from_1_mib_on(entry: IndexUse, unused: bool) -> None:
    assert bool(storage.unused_indexes([entry], None).rows) is unused


def test_index_several_times_its_dense_size_is_bloated() -> None:
    assert storage.bloated_indexes([index(size=4 * MIB)]).rows == [("ix", "registries", "4 MiB", "1 MiB")]
    assert not storage.bloated_indexes([index(size=3 * MIB), index(size=9 * MIB, dense=0)]).rows


def test_dead_rows_are_a_finding_where_autovacuum_falls_behind() -> None:
    assert not storage.dead_rows([table(live=100, dead=90)]).finding  # too few to matter
    assert storage.dead_rows([table(live=10_000, dead=10_000)]).finding == "dead rows in 1 table"
    assert storage.dead_rows([table(live=10_000, dead=1)]).rows[0][3] == "0.01 %"
