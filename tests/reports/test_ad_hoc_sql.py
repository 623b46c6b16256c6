import json

import pytest

from tests.support.sql_oracle import Tables
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.reports.ad_hoc_sql import answer
from wishcraft.reports.analyst_report import ReportResult

VISITOR = -5556456536573512484
PLOT = "](data:image/png;base64,"


@pytest.fixture
def db(analysts: AnalystsDatabase, demo: Tables) -> AnalystsDatabase:
    assert not demo.closed
    return analysts


def asked(db: AnalystsDatabase, question: str) -> ReportResult:
    return answer(db, question, 100, 10)


@pytest.mark.parametrize(
    "question",
    [
        "SELECT month, n FROM (VALUES (date '2026-09-01', 1), ('2025-10-01', 2)) AS v (month, n)",
        "SELECT moment, 1 AS n FROM generate_series(now(), now() + '9 hours', '1 hour') AS moment",
        "SELECT word, 'a' AS id, n FROM (VALUES ('a', 1), (NULL, 2), ('b', NULL)) AS v (word, n)",
        'SELECT n > 1 AS "is", sum(n) FROM generate_series(1, 3) AS n GROUP BY 1',
        "SELECT word, n FROM (VALUES ('a', 1), ('b', 'Infinity'::float8)) AS v (word, n)",
        "SELECT ARRAY[n] AS list, n FROM generate_series(1, 3) AS n",
    ],
)
def test_figures_of_days_or_words_are_drawn(db: AnalystsDatabase, question: str) -> None:
    assert PLOT in asked(db, question).page.body


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("SELECT occurred_at::date AS day, type, count(*) FROM events GROUP BY 1, 2", "`day` has the same value"),
        ("SELECT event_type, status, 1 AS n FROM registries", "`event_type` has the same value"),
        ("SELECT registry_id, sum(quantity) FROM purchases GROUP BY 1", "`registry_id` is of numbers"),
        ("SELECT event_type, registry_id FROM registries", "no later column counts"),
        ("SELECT domain FROM shops", "no later column counts"),
        ("SELECT domain, 1 AS n FROM shops WHERE false", "nothing to draw"),
    ],
)
def test_where_there_is_no_plot_the_page_says_why_and_what_gives_one(
    db: AnalystsDatabase, question: str, why: str
) -> None:
    body = asked(db, question).page.body
    assert PLOT not in body
    assert why in body
    assert "A plot takes days or words" in body


def test_ids_and_sums_are_shown_as_they_are(db: AnalystsDatabase) -> None:
    values = f"('a', 100000005, {VISITOR}, 2385::numeric, 2.25), ('b', NULL, NULL, NULL, NULL)"
    page = asked(db, f"SELECT * FROM (VALUES {values}) AS v (word, item_id, visitor, sum, mean)").page  # noqa: S608  ours
    assert f"| a | 100000005 | {VISITOR} | 2,385 | 2.2 |" in page.body
    first, second = page.tables["ask"]
    assert first == {"word": "a", "item_id": "100000005", "visitor": str(VISITOR), "sum": 2385, "mean": 2.25}
    assert second == {"word": "b", "item_id": "", "visitor": "", "sum": "", "mean": ""}
    assert json.dumps(page.tables)


def test_long_texts_are_cut_for_people_and_whole_in_the_frame(db: AnalystsDatabase) -> None:
    found = asked(db, "SELECT repeat('x', 1000000) AS wide, jsonb_build_array(repeat('y', 1000000)) AS list")
    assert len(json.dumps([found.page.body, found.page.tables])) < 2_000
    assert found.page.tables["ask"][0]["wide"] == "x" * 200 + "…"
    assert found.frame["wide"].str.len().tolist() == [1_000_000]
