"""The tasks of the analysts' flows: each reads, counts and draws in a thread, and tells its run how far it is."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from prefect.runtime import flow_run

from tasks.runtime.progress import BatchProgress
from tasks.runtime.retries import task
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import Progress
from wishcraft.analytics.tables import TableName
from wishcraft.reports import ad_hoc_sql, export
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.export import DataFormat, FileFormat, save
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.registry_report import RegistryReport
from wishcraft.resources import open_analysts_database
from wishcraft.settings import AnalyticsSettings

T = TypeVar("T")
Found = tuple[Page, Path | None]
"""A page, and the file that was asked for."""


@task("report registries")
async def report_registries(question: ReportFilter, now: datetime, file: FileFormat) -> Found:
    """How registries do: completion, gifts, guests, products, cohorts."""
    return await _answer("Registries", RegistryReport(question, now).build, file, now.date())


@task("report conversion")
async def report_conversion(question: ReportFilter, now: datetime, file: FileFormat) -> Found:
    """Where guests give up, and what reminders do."""
    day = question.days.last or now.date()
    return await _answer("Conversion", ConversionReport(question, now).build, file, day)


@task("forecast demand")
async def forecast_demand(question: ReportFilter, today: date, weeks: int, file: FileFormat) -> Found:
    """What the coming events will ask of the stock."""
    return await _answer("Demand", DemandReport(question, today, weeks).build, file, today)


@task("ask")
async def ask_database(question: str, rows: int, seconds: int, file: FileFormat) -> Found:
    """What a SELECT finds."""

    def make(db: AnalystsDatabase, _: Progress) -> ReportResult:
        return ad_hoc_sql.run_query(db, question, rows, seconds)

    return await _answer("Answer", make, file, datetime.now(UTC).date())


@task("export {table}")
async def export_table(table: TableName, question: ReportFilter, form: DataFormat) -> Found:
    """Write a table's rows to a file."""
    file = _file(table, form, datetime.now(UTC).date())
    rows = await _in_thread(lambda db, progress: export.export_table(db, table, question, file, progress))
    return Page(f"{pluralize(rows, 'row')} of {table}.", "", {}), file


async def _answer(
    title: str, make: Callable[[AnalystsDatabase, Progress], ReportResult], form: FileFormat, day: date
) -> Found:
    answer = await _in_thread(make)
    file = None if form == "none" else _file(str(flow_run.flow_name), form, day)
    if file:
        await asyncio.to_thread(save, answer, title, file)
    return answer.page, file


def _file(name: str, form: str, day: date) -> Path:
    """A name that no other run has: what it holds, the day that it tells of, and the end of the run's id."""
    return AnalyticsSettings().export_folder.absolute() / f"{name}-{day}-{str(flow_run.id)[-8:]}.{form}"


async def _in_thread(work: Callable[[AnalystsDatabase, Progress], T]) -> T:
    """Do the work beside this loop, which stays free for the run's heartbeats."""
    loop = asyncio.get_running_loop()
    watched = BatchProgress(1)

    def tell(done: int, total: int) -> None:
        asyncio.run_coroutine_threadsafe(watched.checkpoint(done, total), loop).result()

    def do() -> T:
        with open_analysts_database() as db:
            return work(db, tell)

    return await asyncio.to_thread(do)
