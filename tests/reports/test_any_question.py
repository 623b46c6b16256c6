"""Every question of an analyst is answered, or refused with a reason: a slip is not an error of the service."""

import json
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from tests.support.sql_oracle import Tables
from wishcraft.analytics.database import AnalystsDatabase, _is_of_query
from wishcraft.analytics.filters import parse_filter
from wishcraft.errors import QueryRefused
from wishcraft.reports.ad_hoc_sql import run_query
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.export import save


@pytest.fixture
def db(analysts: AnalystsDatabase, demo: Tables) -> AnalystsDatabase:
    return analysts


def run(db: AnalystsDatabase, sql: str) -> ReportResult:
    return run_query(db, sql, 100, 10)


VALUES = [
    "'Infinity'::float8", "'-Infinity'::float4", "'NaN'::float8", "'Infinity'::numeric", "'NaN'::numeric",
    "1e308::float8", "-1e308::float8", "10::numeric ^ 400", "10::numeric ^ 5000", "9223372036854775807",
    "4294967295::oid", "'10.0.0.0/8'::inet", "'08:00:2b:01:02:03'::macaddr", "gen_random_uuid()",
    "interval '1 year -2 days'", "int4range(1, 5)", "tstzrange(now(), NULL)", "point(1, 2)", "B'101'",
    "'\\xdeadbeef'::bytea", "'{\"a\": [1, null]}'::jsonb", "'[1, \"a\"]'::json", "ARRAY[1, NULL]",
    "ARRAY[ARRAY['a']]", "ROW(1, 'a')", "'1.50'::money", "time '10:00'", "timetz '10:00+02'", "true", "NULL",
    "NULL::int", "NULL::inet", "NULL::timestamptz", "'a'::\"char\"", "'a'::name", "'a b'::tsvector",
    "'0001-01-01'::date", "'9999-12-31'::date", "'0001-01-01'::timestamp",
    "'9999-12-31 23:59:59.999999+00'::timestamptz", "'infinity'::date", "'-infinity'::timestamp",
    "'infinity'::timestamptz", "'0044-03-15 BC'::date", "'0044-03-15 BC'::timestamptz", "'10000-01-01'::date",
    "'294276-01-01'::timestamp", "'infinity'::interval", "'24:00'::time",
    "ARRAY['infinity'::date]", "tsrange('-infinity', 'infinity')",
    "pg_typeof(1)", "'items'::regclass",
    "xid8 '18446744073709551615'", "E'tab\\tline\\nbreak | $x$ \\x01'",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_column_of_any_type_is_shown_and_written(db: AnalystsDatabase, tmp_path: Path, value: str) -> None:
    show_and_write(db, f"SELECT {value} AS v, 2 AS n", tmp_path)


@pytest.mark.parametrize("values", [VALUES[start::6] for start in range(6)], ids=range(6))
def test_later_columns_of_any_type_with_a_gap_are_shown_and_written(
    db: AnalystsDatabase, tmp_path: Path, values: list[str]
) -> None:
    columns = ", ".join(f"CASE WHEN n > 1 THEN {value} END AS v{place}" for place, value in enumerate(values))
    show_and_write(db, f"SELECT n::text AS word, {columns}, n FROM generate_series(1, 3) AS n", tmp_path)  # noqa: S608


def show_and_write(db: AnalystsDatabase, sql: str, folder: Path) -> None:
    result = run(db, sql)
    json.dumps(result.page.tables, allow_nan=False)
    for suffix in ("parquet", "csv", "html"):
        save(result, "Answer", folder / f"answer.{suffix}")
    assert len(pd.read_parquet(folder / "answer.parquet")) == len(result.frame)


def test_times_that_python_does_not_know_are_shown_as_postgresql_writes_them(db: AnalystsDatabase) -> None:
    sql = "SELECT v FROM (VALUES ('2026-03-14'::date), ('infinity'), ('0044-03-15 BC'), (NULL)) AS days (v)"
    assert run(db, sql).frame["v"].tolist()[:3] == ["2026-03-14", "infinity", "0044-03-15 BC"]


def test_columns_have_unique_names_whatever_they_are_called(db: AnalystsDatabase) -> None:
    frame = run(db, 'SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a, 5, 6, 7 AS "x]\n|$y$"').frame
    assert list(frame) == ["a", "a_3", "a_2", "a_4", "?column?", "?column?_2", "x]\n|$y$"]
    assert frame.iloc[0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    run(db, 'SELECT \'a\' AS "w]`|$x$", 1 AS "n[1](b)\n$", 2 AS "n[1](b)\n$"')


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT lastval()", "lastval is not yet defined|denied"),
        ("SELECT repeat('x', 1100000000)", "requested length too large"),
        ("SELECT chr(57343)", "requested character not valid"),
        ("SELECT 2147483647 + 1", "integer out of range"),
        ("SELECT $1", "parameter"),
        ("SELECT 99999999999999999999::int8", "out of range"),
        ("SELECT currval('x')", "does not exist|denied"),
        ("SELECT pg_advisory_unlock_all(), nextval('public.shops_id_seq')", "denied|read-only"),
        ("SELECT set_config('transaction_isolation', 'serializable', true)", "must be called before any query|denied"),
        ("SELECT current_setting('no.such')", "unrecognized configuration parameter"),
        ("SELECT '\\xff'::bytea::text::xml", "invalid XML|not supported|unsupported"),
        ("SELECT convert_from('\\xff', 'UTF8')", "invalid byte sequence"),
        ("SELECT 1; SELECT 2", "another statement follows"),
    ],
)
def test_slip_in_a_question_is_refused_with_its_reason(db: AnalystsDatabase, sql: str, reason: str) -> None:
    with pytest.raises(QueryRefused, match=reason):
        run(db, sql)


@pytest.mark.parametrize("sql", ["SELECT 1; -- done", "/* a /* b */ c */ SELECT 1", "\ufeffSELECT\u00a01;\u00a0"])
def test_question_may_end_with_a_comment_and_contain_odd_spaces(db: AnalystsDatabase, sql: str) -> None:
    assert run(db, sql).frame.iloc[0, 0] == 1


@pytest.mark.parametrize(
    ("error", "is_of_query"),
    [
        (psycopg.errors.ObjectNotInPrerequisiteState, True),
        (psycopg.errors.ProgramLimitExceeded, True),
        (psycopg.errors.ConfigurationLimitExceeded, True),
        (psycopg.errors.OutOfMemory, True),
        (psycopg.errors.ReadOnlySqlTransaction, True),
        (psycopg.errors.InternalError_, True),
        (psycopg.errors.AdminShutdown, False),
        (psycopg.errors.CannotConnectNow, False),
        (psycopg.errors.ConnectionFailure, False),
        (psycopg.errors.DiskFull, False),
        (psycopg.errors.LockNotAvailable, False),
        (psycopg.errors.SerializationFailure, False),
        (psycopg.errors.IoError, False),
        (psycopg.OperationalError, False),
        (psycopg.InterfaceError, False),
        (psycopg.DataError, True),
    ],
)
def test_only_errors_of_the_server_and_the_connection_are_unavailability(
    error: type[psycopg.Error], is_of_query: bool
) -> None:
    assert _is_of_query(error()) is is_of_query


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1899-12-31", "3000-01-01"])
def test_day_at_the_end_of_the_calendar_is_refused(day: str) -> None:
    for days in ((day, None), (None, day)):
        with pytest.raises(QueryRefused, match=f"the day {day} is out of range"):
            parse_filter((), (), *days)
