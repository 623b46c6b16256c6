"""The analysts' reports for a shell or a notebook: each returns a frame, and needs PostgreSQL alone, no Prefect.

DATABASE_REPLICA_URL (or DATABASE_URL) says where to read, unless `database` does. The columns are explained in
`wishcraft.analytics`. A long report says how far it is, if somebody looks on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from rich.console import Console
from rich.progress import Progress as Bar

from wishcraft.analytics import LEAD_WEEKS
from wishcraft.analytics.filters import Day, Names, day, one_of, parse_filter, within
from wishcraft.analytics.reader import Progress
from wishcraft.analytics.tables import TableName
from wishcraft.domain.periods import last_weeks
from wishcraft.reports import conversion_report as conversions
from wishcraft.reports import demand_report as demand
from wishcraft.reports import export
from wishcraft.reports import registry_report as registries
from wishcraft.resources import open_analysts_database

if TYPE_CHECKING:
    import pandas as pd

MOST_WEEKS: Final = 104
"""How far back `conversion_report` looks, as its form does."""
MOST_SECONDS: Final = 60
"""How long `ask` waits, as its form does."""


def registry_report(
    shops: Names = (),
    event_types: Names = (),
    first_day: Day = None,
    last_day: Day = None,
    part: registries.Part = "summary",
    database: str | None = None,
) -> "pd.DataFrame":
    """How the registries do that were created from the first day to the last.

    Args:
        shops: Domains, or one; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        first_day: A date, or a text such as `2026-03-14`. Without it, from the beginning.
        last_day: The last day that counts. Without it, until now.
        part: `summary` by shop and event type, `registries` one by one, `products`, `never bought`, `price bands`, or
            `cohorts` by the month of creation.
        database: The URL to read from.

    Raises:
        QuestionRefused: There is no such shop, event type, day or part, or the first day is after the last.
        ConfigurationError: No database is named, or it lets nobody read the views.
        DatabaseUnavailable: PostgreSQL is away.
    """
    one_of("part", part, get_args(registries.Part))
    question = parse_filter(shops, event_types, first_day, last_day)
    with open_analysts_database(database) as db, _progress() as progress:
        return registries.count(db, question, datetime.now(UTC), progress).part(part)


def conversion_report(
    shops: Names = (),
    event_types: Names = (),
    weeks: int = 12,
    today: Day = None,
    part: conversions.Part = "funnel",
    database: str | None = None,
) -> "pd.DataFrame":
    """Where guests gave up in the last weeks, and what reminders did.

    Args:
        shops: Domains, or one; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        weeks: How many, from Monday to Sunday, with the one of `today`: 1 to 104.
        today: The last day that counts, a date or a text such as `2026-03-14`; today in UTC without it.
        part: `funnel` by shop, event type and week, or `reminders` by shop.
        database: The URL to read from.

    Raises:
        QuestionRefused: There is no such shop, event type, day or part, or `weeks` are too few or too many.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    one_of("part", part, get_args(conversions.Part))
    span = last_weeks(day(today) or _today(), within("weeks", weeks, MOST_WEEKS))
    question = parse_filter(shops, event_types, span.first, span.last)
    with open_analysts_database(database) as db, _progress() as progress:
        return conversions.count(db, question, datetime.now(UTC), progress).part(part)


def demand_forecast(
    shops: Names = (),
    event_types: Names = (),
    weeks: int = 8,
    today: Day = None,
    database: str | None = None,
) -> "pd.DataFrame":
    """What the events of the coming weeks will ask of each variant's stock, the scarcest first.

    Args:
        shops: Domains, or one; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        weeks: How many weeks from `today` on are looked at: 1 to 26.
        today: The day from which is looked ahead, a date or a text such as `2026-03-14`; today in UTC without it.
        database: The URL to read from.

    Raises:
        QuestionRefused: There is no such shop, event type or day, or `weeks` are too few or too many.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    question = parse_filter(shops, event_types)
    first = day(today) or _today()
    within("weeks", weeks, LEAD_WEEKS)
    with open_analysts_database(database) as db, _progress() as progress:
        return demand.count(db, question, first, weeks, progress).forecast()


def export_data(
    table: TableName,
    file: Path | str,
    shops: Names = (),
    event_types: Names = (),
    first_day: Day = None,
    last_day: Day = None,
    database: str | None = None,
) -> int:
    """Write a table's rows to a file, in chunks: how many rows they are.

    Args:
        table: `registries`, `items`, `purchases`, `events` or `reminders`. Purchases are the live ones, which are
            pending or confirmed.
        file: Its name ends in `.parquet`, which keeps the columns' types, or `.csv`.
        shops: Domains, or one; all shops if empty.
        event_types: Such as `wedding`, one or several; all if empty.
        first_day: When the registries were created (or the events happened), a date or a text such as `2026-03-14`.
            Without it, from the beginning.
        last_day: The last day that counts. Without it, until now.
        database: The URL to read from.

    Raises:
        QuestionRefused: There is no such table, shop, event type or day, the first day is after the last, or the file's
            name ends otherwise.
        ConfigurationError: The file cannot be written; or as `registry_report`.
        DatabaseUnavailable: As `registry_report`.
    """
    one_of("table", table, get_args(TableName))
    question = parse_filter(shops, event_types, first_day, last_day)
    with open_analysts_database(database) as db, _progress() as progress:
        return export.export_table(db, table, question, Path(file), progress)


def ask(question: str, rows: int = 1_000, seconds: int = 30, database: str | None = None) -> "pd.DataFrame":
    """What a SELECT from the analysts' views finds: the first rows of it.

    Args:
        question: One SELECT, in PostgreSQL's words; docs/analysts.md lists the views and their columns.
        rows: The most rows that come back.
        seconds: How long it may take: 1 to 60.
        database: The URL to read from.

    Raises:
        QuestionRefused: It is not understood, reads what is not for analysts, or takes too long.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
    within("seconds", seconds, MOST_SECONDS)
    with open_analysts_database(database) as db:
        return db.ask(question, rows, seconds).head(rows)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar in the terminal or the notebook, while the work lasts; nothing where nobody looks on."""
    console = Console(stderr=True)
    idle = not (console.is_terminal or console.is_jupyter)
    with Bar(console=console, transient=True, disable=idle) as bar:
        task = bar.add_task("registries")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _today() -> date:
    return datetime.now(UTC).date()
