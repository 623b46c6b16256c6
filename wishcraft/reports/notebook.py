"""The analysts' reports as functions for a shell or a notebook: each returns a frame. They need PostgreSQL, no Prefect.

They read from DATABASE_REPLICA_URL (or DATABASE_URL), unless `database` is given. The functions of
`wishcraft.analytics` define the columns. In a terminal or a notebook a bar shows the progress.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from rich.console import Console
from rich.progress import Progress as ProgressBar

from wishcraft.analytics import LEAD_WEEKS
from wishcraft.analytics.filters import Day, Names, TableName, parse_choice, parse_day, parse_filter, require_range
from wishcraft.analytics.reader import Progress
from wishcraft.analytics.select_text import parse_select
from wishcraft.database_errors import is_connection_failure
from wishcraft.domain.periods import last_weeks
from wishcraft.errors import DatabaseUnavailable, QueryRefused
from wishcraft.reports import conversion_report as conversion
from wishcraft.reports import export, plots
from wishcraft.reports import registry_report as registries
from wishcraft.reports.demand_report import DemandReport
from wishcraft.resources import open_analysts_database
from wishcraft.settings import time_zone

if TYPE_CHECKING:
    import pandas as pd

    from wishcraft.analytics.database import AnalystsDatabase

MAX_WEEKS: Final = 104
"""The limit of `conversion_report`, as in its form in the Prefect UI."""
MAX_SECONDS: Final = 60
"""The limit of `ask`, as in its form in the Prefect UI."""
MAX_ROWS: Final = 10_000_000
"""The limit of `ask`: a result of 50 MB has hardly more rows."""


class RowsLeftOut(UserWarning):
    """An answer of `ask` has more rows than its limit, so sums over its frame are too small."""


def registry_report(
    shops: Names = (),
    event_types: Names = (),
    first_day: Day = None,
    last_day: Day = None,
    part: registries.Part = "summary",
    database: str | None = None,
) -> "pd.DataFrame":
    """Completion, gifts, guests, products, prices and cohorts of registries.

    Args:
        shops: One domain or several; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        first_day: The first day of the registries' creation, a date or a text such as `2026-03-14`; no limit if None.
        last_day: The last day of the registries' creation; no limit if None.
        part: `summary` by shop and event type, `registries` one by one, `products`, `never bought`, `price bands`, or
            `cohorts` by the month of creation.
        database: The URL to read from.

    Raises:
        QueryRefused: There is no such shop, event type, day or part, or the first day is after the last.
        ConfigurationError: No database URL is set, or its login may not read the views.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    parse_choice("part", part, get_args(registries.Part))
    report_filter = parse_filter(shops, event_types, first_day, last_day)
    with _open(database) as db, _progress_bar() as progress:
        return registries.RegistryReport(report_filter, datetime.now(UTC)).count(db, progress).part(part)


def conversion_report(
    shops: Names = (),
    event_types: Names = (),
    weeks: int = 12,
    today: Day = None,
    part: conversion.Part = "funnel",
    database: str | None = None,
) -> "pd.DataFrame":
    """The funnel of visits in the last weeks, and the effect of reminders.

    Args:
        shops: One domain or several; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        weeks: How many weeks, from Monday to Sunday, including that of `today`: 1 to 104.
        today: The last day, a date or a text such as `2026-03-14`; today in the time zone of TZ if None.
        part: `funnel` by shop, event type and week, or `reminders` by shop.
        database: The URL to read from.

    Raises:
        QueryRefused: There is no such shop, event type, day or part, or `weeks` is out of range.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    parse_choice("part", part, get_args(conversion.Part))
    span = last_weeks(parse_day(today) or _today(), require_range("weeks", weeks, MAX_WEEKS))
    report_filter = parse_filter(shops, event_types, span.first, span.last)
    with _open(database) as db, _progress_bar() as progress:
        return conversion.ConversionReport(report_filter, datetime.now(UTC)).count(db, progress).part(part)


def demand_forecast(
    shops: Names = (),
    event_types: Names = (),
    weeks: int = 8,
    today: Day = None,
    database: str | None = None,
) -> "pd.DataFrame":
    """The demand for each variant at the events of the coming weeks, compared with its stock; the scarcest first.

    Args:
        shops: One domain or several; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        weeks: How many weeks from `today` on: 1 to 26.
        today: The first day, a date or a text such as `2026-03-14`; today in the time zone of TZ if None.
        database: The URL to read from.

    Raises:
        QueryRefused: There is no such shop, event type or day, or `weeks` is out of range.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    report_filter = parse_filter(shops, event_types)
    first = parse_day(today) or _today()
    require_range("weeks", weeks, LEAD_WEEKS)
    with _open(database) as db, _progress_bar() as progress:
        return DemandReport(report_filter, first, weeks).count(db, progress).part()


def export_data(
    table: TableName,
    file: Path | str,
    shops: Names = (),
    event_types: Names = (),
    first_day: Day = None,
    last_day: Day = None,
    database: str | None = None,
) -> int:
    """Write a table's rows to a file, in chunks; return how many rows they are.

    Args:
        table: `registries`, `items`, `purchases`, `events` or `reminders`. Purchases are the live ones, which are
            pending or confirmed.
        file: The suffix selects the format: `.parquet`, which keeps the columns' types, or `.csv`. Its folder exists.
        shops: One domain or several; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        first_day: The first day of the registries' creation (or of the events), a date or a text such as `2026-03-14`;
            no limit if None.
        last_day: The last day; no limit if None.
        database: The URL to read from.

    Raises:
        QueryRefused: There is no such table, shop, event type, day or folder, the first day is after the last, or the
            file has another suffix.
        ConfigurationError: The file cannot be written; or as `registry_report`.
        DatabaseUnavailable: As `registry_report`.
    """
    parse_choice("table", table, get_args(TableName))
    report_filter = parse_filter(shops, event_types, first_day, last_day)
    path = Path(file)
    if not path.parent.is_dir():
        raise QueryRefused(f"there is no folder '{path.parent}': check the path, or create it")
    with _open(database) as db, _progress_bar() as progress:
        return export.export_table(db, table, report_filter, path, progress)


def ask(question: str, rows: int = 1_000, seconds: int = 30, database: str | None = None) -> "pd.DataFrame":
    """Run a SELECT on the analysts' views and return its first rows; warn with `RowsLeftOut` if there are more.

    Args:
        question: One SELECT in PostgreSQL's syntax; docs/analysts.md lists the views and their columns.
        rows: The maximum number of rows: 1 to 10,000,000.
        seconds: The time limit: 1 to 60.
        database: The URL to read from.

    Raises:
        QueryRefused: The SELECT is not valid, reads other tables, or takes too long; or `rows` or `seconds` is out of
            range.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    require_range("rows", rows, MAX_ROWS)
    require_range("seconds", seconds, MAX_SECONDS)
    parse_select(question)
    with _open(database) as db:
        found = db.query(question, rows, seconds)
    if len(found) > rows:
        _warn_of_rows_left_out(rows)
    return found.head(rows)


def _warn_of_rows_left_out(rows: int) -> None:
    """Warn the caller of `ask`, each time: Python shows a text of `warnings.warn` once for each line of a module."""
    larger = f", or raise the limit: ask(…, rows={min(10 * rows, MAX_ROWS):_})" if rows < MAX_ROWS else ""
    text = f"the answer has more rows than the limit of {rows:,}: the frame has only the first {rows:,}. Let the SELECT"
    caller = sys._getframe(2)  # noqa: SLF001  as `stacklevel` of `warnings.warn` does
    warnings.warn_explicit(
        f"{text} count or add{larger}", RowsLeftOut, caller.f_code.co_filename, caller.f_lineno, registry={}
    )


@contextmanager
def _open(url: str | None) -> "Iterator[AnalystsDatabase]":
    """As `open_analysts_database`, with what to do if PostgreSQL is not reached."""
    try:
        with open_analysts_database(url) as db:
            yield db
    except DatabaseUnavailable as error:
        if not is_connection_failure(error):
            raise
        cause = "the URL `database`" if url else "DATABASE_REPLICA_URL"
        remedy = f"check {cause}, and that its server runs: `make up` starts that of the local stack"
        raise DatabaseUnavailable(f"{error}; {remedy}. docs/analysts.md shows how to set the variable") from error


class Picture(NamedTuple):
    """A plot: notebooks show it as the value of a cell; `png` is what a file of it has."""

    png: bytes

    def _repr_mimebundle_(self, **_choice: object) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
        """The representation that IPython displays: the picture at half its size, which is sharp on every screen."""
        return {"image/png": self.png}, {"image/png": {"width": plots.SHOWN_WIDTH}}


def plot(*panels: plots.Panel) -> Picture:
    """Draw panels one below the other, as the reports do: `TimeSeries`, `BarChart` or `Heatmap` of `reports.plots`."""
    return Picture(plots.draw(panels))


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show a bar in a terminal or a notebook while the block runs; elsewhere show nothing."""
    console = Console(stderr=True)
    disabled = not (console.is_terminal or console.is_jupyter)
    with ProgressBar(console=console, transient=True, disable=disabled) as bar:
        task = bar.add_task("registries")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _today() -> date:
    return datetime.now(time_zone()).date()
