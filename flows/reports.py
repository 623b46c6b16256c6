"""The analysts' reports for a shell or a notebook: each returns a frame, and needs PostgreSQL alone, no Prefect.

DATABASE_REPLICA_URL (or DATABASE_URL) says where to read, unless `database` does. The columns are explained in
`wishcraft.domain.analytics`. A long report says how far it is, if somebody looks on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar

from wishcraft.domain.periods import Days, last_weeks
from wishcraft.resources import open_analysts_database
from wishcraft.services import conversion_report as conversions
from wishcraft.services import demand_report as demand
from wishcraft.services import exporting
from wishcraft.services import registry_report as registries
from wishcraft.services.analysing import Progress, Question
from wishcraft.store.frames import TableName

if TYPE_CHECKING:
    import pandas as pd


def registry_report(
    shops: Sequence[str] = (),
    event_types: Sequence[str] = (),
    first_day: date | None = None,
    last_day: date | None = None,
    part: registries.Part = "summary",
    database: str | None = None,
) -> "pd.DataFrame":
    """How the registries do that were created from the first day to the last.

    Args:
        shops: Domains; all shops if empty.
        event_types: Such as `wedding`; all if empty.
        first_day: Without it, from the beginning.
        last_day: Without it, until now.
        part: `summary` by shop and event type, `registries` one by one, `products`, `never bought`, `price bands`, or
            `cohorts` by the month of creation.
        database: The URL to read from.

    Raises:
        QuestionRefused: A domain names no shop, or the first day is after the last.
        ConfigurationError: No database is named, or it lets nobody read the views.
        DatabaseUnavailable: PostgreSQL is away.
    """
    question = Question(shops, event_types, Days(first_day, last_day))
    with open_analysts_database(database) as db, _progress() as progress:
        return registries.count(db, question, datetime.now(UTC), progress).part(part)


def conversion_report(
    shops: Sequence[str] = (),
    event_types: Sequence[str] = (),
    weeks: int = 12,
    today: date | None = None,
    part: conversions.Part = "funnel",
    database: str | None = None,
) -> "pd.DataFrame":
    """Where guests gave up in the last weeks: `funnel` by shop, event type and week, or what `reminders` did by shop.

    The other arguments, and what is raised, are `registry_report`'s.
    """
    question = Question(shops, event_types, last_weeks(today or _today(), weeks))
    with open_analysts_database(database) as db, _progress() as progress:
        return conversions.count(db, question, datetime.now(UTC), progress).part(part)


def demand_forecast(
    shops: Sequence[str] = (),
    event_types: Sequence[str] = (),
    weeks: int = 8,
    today: date | None = None,
    database: str | None = None,
) -> "pd.DataFrame":
    """What the events of the coming weeks will ask of each variant's stock, the scarcest first.

    The other arguments, and what is raised, are `registry_report`'s.
    """
    question = Question(shops, event_types)
    with open_analysts_database(database) as db, _progress() as progress:
        return demand.count(db, question, today or _today(), weeks, progress).forecast()


def export_data(
    table: TableName,
    file: Path | str,
    shops: Sequence[str] = (),
    event_types: Sequence[str] = (),
    first_day: date | None = None,
    last_day: date | None = None,
    database: str | None = None,
) -> int:
    """Write a table's rows to a file that ends in `.parquet` or `.csv`, in chunks: how many rows they are.

    The other arguments, and what is raised, are `registry_report`'s.
    """
    question = Question(shops, event_types, Days(first_day, last_day))
    with open_analysts_database(database) as db, _progress() as progress:
        return exporting.export_table(db, table, question, Path(file), progress)


def ask(question: str, rows: int = 1_000, seconds: int = 30, database: str | None = None) -> "pd.DataFrame":
    """What a SELECT from the analysts' views finds: the first rows of it.

    Raises:
        QuestionRefused: It is not understood, reads what is not for analysts, or takes too long.
        ConfigurationError, DatabaseUnavailable: As `registry_report`.
    """
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
