import json

import pytest

from tests.support.sql_oracle import Tables
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.reports.ad_hoc_sql import run_query
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.tables import NO_VALUE

VISITOR = -5556456536573512484
PLOT = "](data:image/png;base64,"


@pytest.fixture
def db(analysts: AnalystsDatabase, demo: Tables) -> AnalystsDatabase:
    return analysts


def run(db: AnalystsDatabase, sql: str) -> ReportResult:
    return run_query(db, sql, 100, 10)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT month, n FROM (VALUES (date '2026-09-01', 1), ('2025-10-01', 2)) AS v (month, n)",
        "SELECT moment, 1 AS n FROM generate_series(now(), now() + '9 hours', '1 hour') AS moment",
        "SELECT word, 'a' AS id, n FROM (VALUES ('a', 1), (NULL, 2), ('b', NULL)) AS v (word, n)",
        'SELECT n > 1 AS "is", sum(n) FROM generate_series(1, 3) AS n GROUP BY 1',
        "SELECT word, n FROM (VALUES ('a', 1), ('b', 'Infinity'::float8)) AS v (word, n)",
        "SELECT ARRAY[n] AS list, n FROM generate_series(1, 3) AS n",
    ],
)
def test_measures_by_days_or_words_have_a_plot(db: AnalystsDatabase, sql: str) -> None:
    assert PLOT in run(db, sql).page.body


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT occurred_at::date AS day, type, count(*) FROM events GROUP BY 1, 2", "`day` has the same value"),
        ("SELECT event_type, status, 1 AS n FROM registries", "`event_type` has the same value"),
        ("SELECT registry_id, sum(quantity) FROM purchases GROUP BY 1", "`registry_id` has numbers"),
        ("SELECT event_type, registry_id FROM registries", "no later column counts"),
        ("SELECT domain FROM shops", "no later column counts"),
        ("SELECT domain, 1 AS n FROM shops WHERE false", "nothing to draw"),
    ],
)
def test_page_without_a_plot_says_why_and_what_a_plot_needs(db: AnalystsDatabase, sql: str, reason: str) -> None:
    body = run(db, sql).page.body
    assert PLOT not in body
    assert reason in body
    assert "A plot needs days or words" in body


def test_ids_and_sums_are_shown_exactly(db: AnalystsDatabase) -> None:
    values = f"('a', 100000005, {VISITOR}, 2385::numeric, 2.25), ('b', NULL, NULL, NULL, NULL)"
    page = run(db, f"SELECT * FROM (VALUES {values}) AS v (word, item_id, visitor, sum, mean)").page  # noqa: S608  ours
    assert f"| a | 100000005 | {VISITOR} | 2,385 | 2.25 |" in page.body
    first, second = page.tables["ask"]
    assert first == {"word": "a", "item_id": "100000005", "visitor": str(VISITOR), "sum": "2,385", "mean": "2.25"}
    assert second == {"word": "b"} | dict.fromkeys(("item_id", "visitor", "sum", "mean"), NO_VALUE)
    assert json.dumps(page.tables)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ("round(0, 2), round(0.004, 2)", ["0", "0"]),
        ("round(0.5, 2), round(0.254, 2)", ["0.50", "0.25"]),
        ("round(1.5, 2), round(2.254, 2)", ["1.50", "2.25"]),
        ("1.0 / 3, 0.5", ["0.3333", "0.5000"]),
        ("1234.56, 7", ["1,234.6", "7.0"]),
    ],
)
def test_column_has_no_more_decimals_than_its_numbers(db: AnalystsDatabase, values: str, shown: list[str]) -> None:
    page = run(db, f"SELECT 'a' AS word, n FROM unnest(ARRAY[{values}]) AS n").page  # noqa: S608  ours
    assert [row["n"] for row in page.tables["ask"]] == shown


def test_long_texts_are_cut_on_the_page_and_complete_in_the_frame(db: AnalystsDatabase) -> None:
    result = run(db, "SELECT repeat('x', 1000000) AS wide, jsonb_build_array(repeat('y', 1000000)) AS list")
    assert len(json.dumps([result.page.body, result.page.tables])) < 2_000
    assert result.page.tables["ask"][0]["wide"] == "x" * 200 + "…"
    assert result.frame["wide"].str.len().tolist() == [1_000_000]
