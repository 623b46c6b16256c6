"""The parameters of the notebook functions: invalid ones are refused, convenient forms are accepted."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from functools import partial
from typing import Any

import pandas as pd
import pytest
from psycopg.sql import SQL

from tests.support.aliases import Demo
from wishcraft.analytics import database
from wishcraft.analytics.filters import ReportFilter, parse_filter
from wishcraft.errors import ConfigurationError, DatabaseBusy, DatabaseUnavailable, QueryRefused
from wishcraft.reports import notebook
from wishcraft.settings import Settings

MAPLE = "maple-and-pine.myshopify.com"
NO_SERVER = "postgresql+psycopg://none@127.0.0.1:1/none"


def untyped(value: object) -> Any:
    """The value without its type, which mypy would refuse."""
    return value


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (partial(notebook.registry_report, first_day=date(2026, 5, 2), last_day=date(2026, 5, 1)), "is after the last"),
        (partial(notebook.registry_report, first_day="1 May"), "no day '1 May': write it as 2026-03-14"),
        (
            partial(notebook.registry_report, part=untyped("sumary")),
            "no part 'sumary': there are summary, registries, products",
        ),
        (partial(notebook.conversion_report, part=untyped("x")), "no part 'x': there are funnel, reminders"),
        (partial(notebook.conversion_report, weeks=0), "weeks must be a whole number from 1 to 104, not 0"),
        (partial(notebook.conversion_report, weeks=1_000), "weeks must be a whole number from 1 to 104, not 1000"),
        (
            partial(notebook.conversion_report, ["Wedding"], ["Wedding"]),
            "no event type 'Wedding': there are wedding, baby",
        ),
        (partial(notebook.demand_forecast, weeks=0), "weeks must be a whole number from 1 to 26, not 0"),
        (partial(notebook.demand_forecast, today="soon"), "no day 'soon'"),
        (
            partial(notebook.export_data, untyped("shops"), "x.csv"),
            "no table 'shops': there are registries, items, purchases",
        ),
        (partial(notebook.export_data, "items", "x.txt"), "ends in .parquet or .csv"),
        (
            partial(notebook.export_data, "items", "exprots/may/x.csv"),
            "there is no folder 'exprots/may': check the path",
        ),
        (
            partial(notebook.conversion_report, weeks=untyped("x")),
            "weeks must be a whole number from 1 to 104, not 'x'",
        ),
        (partial(notebook.demand_forecast, weeks=untyped(None)), "weeks must be a whole number from 1 to 26, not None"),
        (partial(notebook.demand_forecast, today=untyped(7)), "no day 7: write it as 2026-03-14"),
        (partial(notebook.demand_forecast, today=untyped(pd.NaT)), "no day NaT"),
        *(
            (
                partial(notebook.ask, "SELECT 1", rows=untyped(rows)),
                f"rows must be a whole number from 1 to 10000000, not {rows!r}",
            )
            for rows in (-1, 0, float("nan"), 2.5, "x", 10**30)
        ),
        (partial(notebook.ask, untyped(5)), "the query must be a text: write one SELECT"),
        *(
            (partial(notebook.registry_report, untyped(names)), f"{wrong!r} is not a name: write a text, or a list of")
            for names, wrong in ((5, 5), ([5], 5), (b"ab", b"ab"), (["a", None], None), ([["a"]], ["a"]))
        ),
        (partial(notebook.ask, "SELECT 1", seconds=0), "seconds must be a whole number from 1 to 60, not 0"),
    ],
)
def test_invalid_parameters_are_refused_before_anything_is_read(report: Callable[..., object], message: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        report(database=NO_SERVER)
    assert message in str(refused.value)


def test_texts_and_single_names_are_accepted(demo: Demo, settings: Settings) -> None:
    database = settings.database_replica_url
    pd.testing.assert_frame_equal(
        notebook.registry_report(MAPLE, "wedding", "2026-01-01", pd.Timestamp("2026-05-01T12:00"), database=database),
        notebook.registry_report([MAPLE], ["wedding"], date(2026, 1, 1), date(2026, 5, 1), database=database),
    )
    pd.testing.assert_frame_equal(
        notebook.conversion_report(today="2026-03-14", database=database),
        notebook.conversion_report(today=date(2026, 3, 14), database=database),
    )
    assert parse_filter(untyped(pd.Series([MAPLE]).to_numpy()), None) == ReportFilter([MAPLE], [])


def test_refusal_of_an_unknown_shop_lists_the_shops_if_they_are_few(demo: Demo, settings: Settings) -> None:
    refused = partial(notebook.registry_report, "", database=settings.database_replica_url)
    with pytest.raises(QueryRefused, match=rf"^no shop has the domain ''; there are .*{MAPLE}, "):
        refused()
    demo.execute(
        """INSERT INTO shops (domain, name, email, currency, timezone, plan)
           SELECT n || '.myshopify.com', 'S', 'a@example.com', 'EUR', 'UTC', 'basic' FROM generate_series(1, 8) n"""
    )
    with pytest.raises(QueryRefused, match=r"there are 11, in the view shops$"):
        refused()


def test_missing_database_url_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_REPLICA_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"^Set DATABASE_REPLICA_URL to .*; docs/analysts\.md shows how"):
        notebook.registry_report()


@pytest.mark.parametrize("given", [True, False])
def test_server_that_does_not_answer_is_named_with_the_variable(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.setenv("DATABASE_REPLICA_URL", NO_SERVER)
    cause = "the URL `database`" if given else "DATABASE_REPLICA_URL"
    with pytest.raises(DatabaseUnavailable, match=f"; check {cause}, and that its server runs: `make up` starts"):
        notebook.ask("SELECT 1", database=NO_SERVER if given else None)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("query_canceled", DatabaseUnavailable),  # such as by a timeout of a statement
        ("lock_not_available", DatabaseBusy),
        ("deadlock_detected", DatabaseUnavailable),
    ],
)
def test_fault_of_a_statement_is_not_said_to_be_the_servers(
    settings: Settings, condition: str, kind: type[DatabaseUnavailable]
) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match=f": {condition}$") as raised,
        notebook._open(settings.database_replica_url) as db,
        db._connection() as connection,
    ):
        connection.execute(SQL("DO {}").format(f"BEGIN RAISE {condition}; END"))
    assert type(raised.value) is kind


def test_full_pool_is_not_said_to_be_a_server_that_does_not_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 0)
    with pytest.raises(DatabaseUnavailable) as raised, ExitStack() as stack:  # noqa: PT012  the third is what fails
        db = stack.enter_context(notebook._open(settings.database_replica_url))
        for _ in range(3):
            stack.enter_context(db._connection())
    assert "QueuePool limit" in str(raised.value)
    assert "server runs" not in str(raised.value)


def test_ask_warns_each_time_that_it_leaves_rows_out(demo: Demo, settings: Settings) -> None:
    assert not demo.closed
    asked = partial(notebook.ask, "SELECT n FROM generate_series(1, 30) AS n", database=settings.database_replica_url)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")  # as in a notebook
        frames = [asked(rows=20) for _ in range(2)]
        assert len(asked(rows=30)) == 30
    assert [len(frame) for frame in frames] == [20, 20]
    assert [(each.category, each.filename) for each in shown] == 2 * [(notebook.RowsLeftOut, __file__)]
    assert "more rows than the limit of 20" in str(shown[0].message)
    assert "raise the limit: ask(…, rows=200)" in str(shown[0].message)
