"""A text is read as PostgreSQL reads it, without its final semicolon and what follows."""

import pytest

from wishcraft.analytics.select_text import parse_select, wrap_sql
from wishcraft.errors import QueryRefused


@pytest.mark.parametrize(
    ("text", "select"),
    [
        ("SELECT 1; -- done", "SELECT 1"),
        ("SELECT 1;;\n/* a /* b */ c */ ;\n", "SELECT 1"),
        ("/* a /* nested */ comment */ SELECT 1", "/* a /* nested */ comment */ SELECT 1"),
        ("\ufeffSELECT\u00a01,\u3000'\u00a0'", " SELECT 1, '\u00a0'"),
        ("SELECT ';--'", "SELECT ';--'"),
        ("SELECT 'it''s; -- x' ;", "SELECT 'it''s; -- x'"),
        (r"SELECT E'a\'; --', date'2026-01-01';", r"SELECT E'a\'; --', date'2026-01-01'"),
        ("SELECT $$;$$, $a$;$$;$a$;", "SELECT $$;$$, $a$;$$;$a$"),
        ('SELECT "a;""b" -- ;', 'SELECT "a;""b"'),
        ("((select 1))", "((select 1))"),
        ("-- why\nWITH a AS (SELECT 1)\nTABLE a", "-- why\nWITH a AS (SELECT 1)\nTABLE a"),
        ("SELECT a$b$c, 1 FROM x;", "SELECT a$b$c, 1 FROM x"),
        ("SELECT 1 -- a; b", "SELECT 1"),
        ("SELECT 'unterminated;", "SELECT 'unterminated;"),
    ],
)
def test_select_is_cut_before_the_semicolon_that_ends_it(text: str, select: str) -> None:
    assert parse_select(text) == select


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("-- SELECT 1", "is empty"),
        ("/* SELECT /* 1 */", "is empty"),
        ("\ufeff\u00a0;", "is empty"),
        ("SELECT 1; SELECT 2", "another statement follows"),
        ("SELECT ';'; DROP TABLE x; -- y", "another statement follows"),
        ("DELETE FROM x", "begins with SELECT, WITH, VALUES or TABLE"),
        ("'SELECT 1'", "begins with SELECT"),
        ("SELECT 'a\0b'", "not allowed"),
        ("SELECT '\ud800'", "not allowed"),
    ],
)
def test_what_is_not_one_select_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(QueryRefused, match=reason):
        parse_select(text)


@pytest.mark.parametrize(
    ("sql", "wrapped"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT a, bb, ccc FROM d", "SELECT a, bb,\n    ccc FROM d"),
        ("SELECT 'a long text here', b", "SELECT\n    'a long text here',\n    b"),
        ("SELECT a -- a comment of one line\nFROM b", "SELECT a\n    -- a comment of one line\nFROM b"),
        ("SELECT\n  a\nFROM b", "SELECT\n  a\nFROM b"),
        ("", ""),
    ],
)
def test_long_lines_of_sql_are_broken_between_words(sql: str, wrapped: str) -> None:
    assert wrap_sql(sql, 14) == wrapped
