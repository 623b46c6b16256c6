import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pandas as pd
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.support.aliases import Demo
from tests.support.waiting import block_until
from wishcraft.analytics.confinement import ROLE
from wishcraft.analytics.database import AnalystsDatabase, Shop
from wishcraft.analytics.filters import TableName
from wishcraft.analytics.tables import TABLES
from wishcraft.errors import ConfigurationError, DatabaseUnavailable, QueryRefused
from wishcraft.settings import Settings, analysts_url

MAPLE = "maple-and-pine.myshopify.com"
PLANTED = "planted-to-be-found"
PERSONAL = {
    "shops": "name email",
    "registries": "slug title description event_location access_code_hash customer_email customer_first_name"
    " customer_last_name",
    "registry_items": "notes",
    "purchases": "order_name purchaser_name purchaser_email gift_message",
    "reminders": "recipient last_error message_id",
    "invitations": "recipient last_error message_id",
    "analytics_events": "visitor_id",
}
VIEWS = ["events", "items", "mails", "purchases", "registries", "reminders", "shops", "views"]


@pytest.fixture
def analyst(settings: Settings, demo: Demo) -> Iterator[Demo]:
    """A connection with the analysts' login."""
    with psycopg.connect(str(settings.database_replica_url).replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def maple(db: AnalystsDatabase) -> Shop:
    [shop] = db.find_shops([MAPLE])
    return shop


def test_no_view_contains_personal_data(demo: Demo, analyst: Demo) -> None:
    demo.execute("""INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state)
        SELECT shop_id, id, '1_day', event_date, 'x', 'sent' FROM registries ON CONFLICT DO NOTHING""")
    for table, columns in PERSONAL.items():
        for column in columns.split():
            demo.execute(
                SQL("UPDATE {} SET {} = {} || '-' || id").format(Identifier(table), Identifier(column), PLANTED)
            )
    demo.execute(
        'UPDATE registries SET customer_id = 4711004711, co_registrants = \'[{"email": "planted-to-be-found"}]\''
    )
    demo.execute("UPDATE purchases SET order_id = 4711004711 + id")
    for view in VIEWS:
        rows = analyst.execute(SQL("SELECT to_jsonb(v)::text FROM analytics.{} v").format(Identifier(view))).fetchall()
        assert rows
        assert not [row for (row,) in rows if PLANTED in row or "4711004" in row]


def test_analyst_login_can_read_only_the_views(demo: Demo, analyst: Demo) -> None:
    [views] = analyst.execute(
        "SELECT array_agg(viewname::text ORDER BY viewname) FROM pg_views WHERE schemaname = 'analytics'"
    )
    assert views == (VIEWS,)
    tables = demo.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        for statement in ("SELECT count(*) FROM public.{}", "DELETE FROM public.{}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                analyst.execute(SQL(statement).format(Identifier(table)))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("CREATE TABLE analytics.mine (id int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("CREATE TABLE public.mine (id int)")


def test_guests_are_numbered_by_address_in_any_case_else_by_customer_else_by_order(
    demo: Demo, db: AnalystsDatabase
) -> None:
    demo.execute("DELETE FROM purchases")
    demo.execute("""
        INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity, unit_price,
            purchaser_email, purchaser_id, status)
        SELECT i.shop_id, i.registry_id, i.id, n / 2, n, '#1', 1, 10,
            (ARRAY['A@x.example', 'a@X.example', 'b@x.example', NULL, NULL, NULL, NULL, NULL])[n],
            (ARRAY[1, NULL, NULL, NULL, NULL, NULL, 7, 7])[n], 'confirmed'
        FROM (SELECT * FROM registry_items WHERE shop_id = 1 ORDER BY id LIMIT 1) i, generate_series(1, 8) n
    """)
    shop = maple(db)
    bought = db.read("purchases", shop, db.find_registries(shop)).to_pandas()
    assert bought["guest"].nunique() == 5  # a, b, customer 7, and the unknown guests of orders 2 and 3
    assert bought["gift"].nunique() == 5


@pytest.mark.parametrize("table", list(TABLES))
def test_table_schema_is_the_same_with_and_without_rows(db: AnalystsDatabase, demo: Demo, table: TableName) -> None:
    demo.execute("""INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state)
        SELECT shop_id, id, '1_day', event_date, 'x', 'sent' FROM registries ON CONFLICT DO NOTHING""")
    shop = maple(db)
    rows, none = db.read(table, shop, db.find_registries(shop)), db.read(table, shop, [])
    assert rows.num_rows
    assert not none.num_rows
    assert rows.schema.equals(none.schema)


def test_mails_are_counted_by_what_became_of_them(db: AnalystsDatabase, demo: Demo) -> None:
    demo.execute("DELETE FROM reminders; DELETE FROM invitations")
    mails = [
        ("sent", None, "delivered", "ses"), ("sent", None, "delivered", "ses"), ("sent", None, None, "smtp"),
        ("suppressed", "refused: x", None, "ses"), ("suppressed", None, None, None), ("failed", "x", None, "ses"),
        ("pending", None, None, None), ("sending", "the reply was lost", "complained", "ses"),
    ]  # fmt: skip
    for number, mail in enumerate(mails):
        demo.execute(
            """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, claimed_at, state, last_error,
                   outcome, provider)
               SELECT shop_id, id, '1_day', date '2026-12-24', 'x' || %s, '2026-12-23 23:59Z', %s, %s, %s, %s
               FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1""",
            [number, *mail],
        )
    demo.execute("""INSERT INTO invitations (shop_id, registry_id, recipient, state, claimed_at, provider)
        SELECT shop_id, id, 'x', 'sent', '2026-12-24 00:00Z', 'ses' FROM registries ORDER BY id LIMIT 1""")
    found = db.query("SELECT day::text, kind, provider, outcome, mails FROM mails WHERE shop_id = 1", 100, 5)
    assert {row[:4]: row[4] for row in found.itertuples(index=False, name=None)} == {
        ("2026-12-23", "reminder", "ses", "delivered"): 2,
        ("2026-12-23", "reminder", "smtp", "sent"): 1,
        ("2026-12-23", "reminder", "ses", "refused"): 1,
        ("2026-12-23", "reminder", "not known", "suppressed"): 1,
        ("2026-12-23", "reminder", "ses", "failed"): 1,
        ("2026-12-23", "reminder", "ses", "complained"): 1,
        ("2026-12-24", "invitation", "ses", "sent"): 1,
    }


def test_texts_are_read_unchanged(db: AnalystsDatabase, demo: Demo) -> None:
    odd = ["NULL", "", 'a, "b"\nc', "nan", "\\N", "花"]
    demo.execute("""UPDATE registry_items SET product_title = (%s::text[])[1 + id %% 6]""", [odd])
    shop = maple(db)
    titles = db.read("items", shop, db.find_registries(shop)).to_pandas()["product_title"]
    assert set(titles) == set(odd)
    assert not titles.isna().any()


def test_only_live_purchases_of_the_given_registries_are_read(db: AnalystsDatabase, demo: Demo) -> None:
    shop = maple(db)
    first = db.find_registries(shop)[:1]
    result = db.read("purchases", shop, first).to_pandas()
    [expected] = demo.execute(
        "SELECT count(*), sum(quantity * unit_price * 10000)::bigint FROM purchases"
        " WHERE registry_id = %s AND status IN ('pending', 'confirmed')",
        first,
    ).fetchall()
    assert (len(result), int((result["quantity"] * result["unit_e4"]).sum())) == expected


def test_query_returns_one_row_more_than_its_limit(db: AnalystsDatabase) -> None:
    result = db.query("SELECT n, n * 1.5 AS half FROM generate_series(1, 50) AS n ORDER BY n DESC; ", 10, 5)
    assert len(result) == 11
    assert result["half"].tolist()[:2] == [75.0, 73.5]
    days = db.query("SELECT date '2026-03-01' AS day, now() AS now, 1 AS a, 2 AS a, '100%' AS odd -- why not", 10, 5)
    assert days["day"].tolist() == [pd.Timestamp(2026, 3, 1)]
    assert list(days) == ["day", "now", "a", "a_2", "odd"]
    assert db.query("WITH few AS (SELECT 1 AS x WHERE false) SELECT * FROM few", 10, 5).empty


@pytest.mark.parametrize(
    "sql", ["VALUES (1)", "TABLE shops", "/* all */ ((select 1))", "-- one\nWITH a AS (SELECT 1) SELECT * FROM a;"]
)
def test_every_form_of_select_is_accepted(db: AnalystsDatabase, sql: str) -> None:
    assert not db.query(sql, 10, 5).empty


def test_integers_stay_exact_with_and_without_nulls(db: AnalystsDatabase) -> None:
    result = db.query(
        "SELECT n AS id, CASE n WHEN 1 THEN -5556456536573512484 END AS visitor, sum(n) AS sum, sum(n) * 1.50 AS money,"
        " avg(n) AS mean, 2::numeric ^ 70 AS vast, CASE n WHEN 1 THEN 0.5 END AS half, NULL::int AS none"
        " FROM generate_series(1, 2) AS n GROUP BY n ORDER BY n",
        10,
        5,
    )
    assert result.dtypes.astype(str).to_dict() == {
        "id": "int64", "visitor": "Int64", "sum": "int64", "money": "float64", "mean": "float64", "vast": "float64",
        "half": "float64", "none": "Int64",
    }  # fmt: skip
    assert result["visitor"].tolist() == [-5556456536573512484, pd.NA]
    assert result["sum"].tolist() == [1, 2]
    assert result["money"].tolist() == [1.5, 3.0]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM public.shops", "permission denied for table shops"),
        ("SELECT query_to_xml('select email from public.shops', true, true, '')", "permission denied"),
        ("SELECT set_config('role', 'postgres', true)", "permission denied"),
        ("SELECT 1; DELETE FROM shops", "syntax error"),
        ("SELECT 1) AS x; SELECT (SELECT 1", "cannot insert multiple commands|syntax error"),
        ("WITH gone AS (DELETE FROM shops RETURNING 1) SELECT * FROM gone", "data-modifying statement"),
        ("WITH gone AS (DELETE FROM locks RETURNING 1) SELECT * FROM gone", 'relation "locks" does not exist'),
        ("SELECT 1 AS a INTO TEMPORARY mine", "INTO is not allowed here"),
        ("SELECT 1) AS a) AS b, (SELECT * FROM (SELECT 2", 'at or near "\\)"'),
        ("DELETE FROM shops", "write one SELECT"),
        ("-- all of\n(SELEC 1)", "write one SELECT"),
        (";", "query is empty"),
        ("/* SELECT 1 */ --", "query is empty"),
        ("SELECT 1 FROM", "end of the query"),
        ("SELECT (1", "end of the query"),
        ("SELECT 1)", '^line 1: syntax error at or near "\\)"$'),
        ("SELECT\n'odd", '^line 2: unterminated quoted string at or near "\'…"$'),
        ("SELECT * FROM customers", 'line 1: relation "customers" does not exist.*views are ' + ", ".join(VIEWS)),
        ("SELECT email FROM registries", 'column "email" does not exist.*no view has personal data'),
        ("SELECT email FROM shops", r"SELECT \* FROM shops LIMIT 1 shows the columns"),
        ("SELECT *\nFROM registries\nWHERE slug = 'x'", 'line 3: column "slug" does not exist'),
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT pg_sleep(30)", "too long"),
        ("", "query is empty"),
    ],
)
def test_invalid_query_is_refused_with_a_reason(db: AnalystsDatabase, sql: str, message: str) -> None:
    with pytest.raises(QueryRefused, match=message):
        db.query(sql, 10, 1 if "pg_sleep" in sql else 30)
    assert len(db.query("SELECT 1", 10, 30)) == 1  # the connection is still usable


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date 'Chloe O''Hara'",
        "SELECT count(*) FROM registries WHERE event_date = 'Chloe O''Hara'",
        "SELECT 'Chloe O''Hara'::int, (",
        "SELECT 1 WHERE $$Chloe O'Hara$$::boolean",
        "SELECT 1 'Chloe O''Hara'",
        "SELECT 'Chloe O''Hara",
        "SELECT to_date('Chloe O''Hara', 'YYYY')",
    ],
)
def test_refusal_does_not_quote_the_texts_of_the_query(db: AnalystsDatabase, sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        db.query(sql, 10, 5)
    assert "Chloe" not in str(refused.value)
    assert "Hara" not in str(refused.value)


def test_result_over_50_mb_is_refused_while_it_is_read(db: AnalystsDatabase) -> None:
    assert len(db.query("SELECT repeat('x', 1000000) FROM generate_series(1, 40)", 100_000, 30)) == 40
    with pytest.raises(QueryRefused, match="larger than 50 MB"):
        db.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100000)", 100_000, 30)  # 100 GB
    assert len(db.query("SELECT 1", 10, 30)) == 1


def test_query_is_refused_for_a_login_that_can_leave_the_analyst_role(settings: Settings, demo: Demo) -> None:
    with closing(AnalystsDatabase(settings.database_url)) as superuser:
        assert superuser.find_shops()
        with pytest.raises(ConfigurationError, match="DATABASE_REPLICA_URL"):
            superuser.query("SELECT 1", 1, 1)


def test_reports_read_as_the_analyst_role_with_any_login(settings: Settings, demo: Demo) -> None:
    with closing(AnalystsDatabase(settings.database_url)) as superuser, superuser._connection() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("wishcraft_analyst",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM public.purchases")
    assert demo.execute("SELECT current_user").fetchone() != ("wishcraft_analyst",)


def test_missing_server_is_unavailable_and_missing_views_are_misconfigured() -> None:
    with (
        closing(AnalystsDatabase("postgresql+psycopg://none@127.0.0.1:1/none")) as unreachable,
        pytest.raises(DatabaseUnavailable),
    ):
        unreachable.find_shops()
    bare = urlsplit(os.environ["TEST_REPLICA_URL"])._replace(scheme="postgresql+psycopg", path="/postgres").geturl()
    with closing(AnalystsDatabase(bare)) as empty, pytest.raises(ConfigurationError, match="schema up to date"):
        empty.find_shops()


def test_wrong_password_of_the_analysts_login_is_misconfigured() -> None:
    parts = urlsplit(os.environ["TEST_REPLICA_URL"])
    wrong = parts._replace(scheme="postgresql+psycopg", netloc=f"{ROLE}:wrong@{parts.hostname}:{parts.port}").geturl()
    with closing(AnalystsDatabase(wrong)) as db, pytest.raises(ConfigurationError, match="check the password"):
        db.find_shops()


def test_reports_are_read_after_a_migration_has_changed_a_type(settings: Settings, demo: Demo) -> None:
    with closing(AnalystsDatabase(settings.database_url, pool_size=1)) as db:
        before = [db.find_shops() for _ in range(10)]
        demo.execute("ALTER VIEW analytics.shops RENAME TO former_shops")
        demo.execute(
            "CREATE VIEW analytics.shops AS SELECT shop_id, domain, currency::varchar, timezone, status"
            " FROM analytics.former_shops"
        )
        demo.execute("GRANT SELECT ON analytics.shops TO wishcraft_analyst")
        try:
            assert db.find_shops() == before[-1]
        finally:
            demo.execute("DROP VIEW analytics.shops")
            demo.execute("ALTER VIEW analytics.former_shops RENAME TO shops")


def test_unknown_shop_is_named_in_the_refusal(db: AnalystsDatabase) -> None:
    with pytest.raises(QueryRefused, match=r"nowhere\.example"):
        db.find_shops([MAPLE, "nowhere.example"])


def test_replica_url_takes_precedence_over_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@primary/wishcraft")
    monkeypatch.delenv("DATABASE_REPLICA_URL", raising=False)
    assert analysts_url() == "postgresql+psycopg://app@primary/wishcraft"
    monkeypatch.setenv("DATABASE_REPLICA_URL", "postgres://analyst@replica/wishcraft")
    assert analysts_url() == "postgresql+psycopg://analyst@replica/wishcraft"
    monkeypatch.delenv("DATABASE_URL")
    assert analysts_url() == "postgresql+psycopg://analyst@replica/wishcraft"
    monkeypatch.delenv("DATABASE_REPLICA_URL")
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        analysts_url()


def test_what_the_url_says_of_a_connection_counts_but_not_another_role(settings: Settings, demo: Demo) -> None:
    said = "application_name=notebook&options=-cwork_mem%3D9MB%20-crole%3Dnone"
    with closing(AnalystsDatabase(f"{settings.database_replica_url}?{said}")) as db:
        assert maple(db).domain == MAPLE
        [(count,)] = demo.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'notebook' AND datname = current_database()"
        ).fetchall()
        assert count
        shown = db.query("SELECT current_setting('work_mem') AS memory, current_user::text AS role", 1, 5)
        assert shown.to_dict("records") == [{"memory": "9MB", "role": ROLE}]


def test_reports_use_two_connections_and_leave_no_transaction_open(db: AnalystsDatabase, demo: Demo) -> None:
    shop = maple(db)
    with ThreadPoolExecutor(6) as readers:
        list(readers.map(lambda table: db.read(table, shop, db.find_registries(shop)), list(TABLES) * 6))
    left = """SELECT count(*), bool_and(state = 'idle') FROM pg_stat_activity
              WHERE application_name = 'wishcraft-analysts' AND datname = current_database()"""
    # An earlier test's connections may still be closing.
    block_until(lambda: demo.execute(left).fetchone() in {(1, True), (2, True)}, "more connections, or a transaction")
