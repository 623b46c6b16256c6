"""The tasks of the analysts' jobs: each reads, computes and draws in a thread, and updates its progress.

Each imports its report when it runs: pandas and matplotlib take seconds, and to deploy or start a job needs neither.
"""

import asyncio
from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

from prefect.runtime import flow_run

from tasks.runtime.progress import TaskProgress
from tasks.runtime.retries import task
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.reports.page import Page
from wishcraft.reports.run_file import DataFormat, FileFormat, RunFile, count_cells, describe_export
from wishcraft.reports.titles import TITLES
from wishcraft.resources import open_analysts_database, open_files
from wishcraft.settings import settings, time_zone

if TYPE_CHECKING:
    from wishcraft.analytics.database import AnalystsDatabase
    from wishcraft.analytics.reader import Progress
    from wishcraft.reports.analyst_report import ReportResult

T = TypeVar("T")
PageAndFile = tuple[Page, RunFile | None]
"""A report's page, and its file if one was requested."""


@task("report registries")
async def report_registries(report_filter: ReportFilter, now: datetime, file: FileFormat) -> PageAndFile:
    """Report completion, gifts, guests, products and cohorts of registries."""
    from wishcraft.reports.registry_report import RegistryReport

    return await _make_report(RegistryReport(report_filter, now).build, file, now.astimezone(time_zone()).date())


@task("report conversion")
async def report_conversion(report_filter: ReportFilter, now: datetime, file: FileFormat) -> PageAndFile:
    """Report the guests' funnel and the effect of reminders."""
    from wishcraft.reports.conversion_report import ConversionReport

    day = report_filter.days.last or now.astimezone(time_zone()).date()
    return await _make_report(ConversionReport(report_filter, now).build, file, day)


@task("forecast demand")
async def forecast_demand(report_filter: ReportFilter, today: date, weeks: int, file: FileFormat) -> PageAndFile:
    """Forecast the demand of the coming events by variant."""
    from wishcraft.reports.demand_report import DemandReport

    return await _make_report(DemandReport(report_filter, today, weeks).build, file, today)


@task("ask")
async def ask_database(question: str, rows: int, seconds: int, file: FileFormat) -> PageAndFile:
    """Run a SELECT over the analysts' views."""
    from wishcraft.reports import ad_hoc_sql

    def make(db: "AnalystsDatabase", _: "Progress") -> "ReportResult":
        return ad_hoc_sql.run_query(db, question, rows, seconds)

    return await _make_report(make, file, datetime.now(time_zone()).date())


@task("export {table}")
async def export_table(table: TableName, report_filter: ReportFilter, file_format: DataFormat) -> PageAndFile:
    """Write a table's rows to a file."""
    from wishcraft.reports import export

    file = _place(table, file_format, datetime.now(time_zone()).date())
    rows = await _in_thread(lambda db, progress: export.export_table(db, table, report_filter, file.path, progress))
    page, content = await asyncio.to_thread(describe_export, table, file.path, rows)
    return page, file._replace(content=content)


async def _make_report(
    make: "Callable[[AnalystsDatabase, Progress], ReportResult]", file_format: FileFormat, day: date
) -> PageAndFile:
    from wishcraft.reports.export import save

    report = await _in_thread(make)
    if file_format == "none":
        return report.page, None
    job = str(flow_run.flow_name)
    file = _place(job, file_format, day)
    await asyncio.to_thread(save, report, TITLES[job], file.path)
    content = "" if file_format == "html" else count_cells(*report.frame.shape)
    return report.page, file._replace(content=content)


def _place(name: str, file_format: str, day: date) -> RunFile:
    """The run's file that is to be written: its name, the day of the report, and the format."""
    current = settings()
    return RunFile.place(open_files(current), current, str(flow_run.id), f"{name}-{day}.{file_format}")


async def _in_thread(work: "Callable[[AnalystsDatabase, Progress], T]") -> T:
    """Do the work in a thread, so that the event loop stays free for the run's heartbeats."""
    loop = asyncio.get_running_loop()
    task_progress = TaskProgress(1)

    def progress(done: int, total: int) -> None:
        asyncio.run_coroutine_threadsafe(task_progress.checkpoint(done, total), loop).result()

    def work_in_thread() -> T:
        with open_analysts_database() as db:
            return work(db, progress)

    return await asyncio.to_thread(work_in_thread)
