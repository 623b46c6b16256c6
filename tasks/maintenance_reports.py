"""The tasks of the maintenance reports, which combine Prefect's history with data from the stores."""

from datetime import datetime, timedelta
from typing import Final

from tasks.runtime.retries import task
from tasks.runtime.run_history import read_runs, read_table
from wishcraft.errors import ConfigurationError
from wishcraft.reports import maintenance
from wishcraft.reports.html import Report, as_mail
from wishcraft.reports.maintenance import CACHE_BY_DAY, CACHE_BY_WEEK, DAY, SIZES, WEEK
from wishcraft.reports.page import Page
from wishcraft.resources import open_resources
from wishcraft.settings import settings

_TOLERANCE: Final = timedelta(hours=4)
"""How much less than a period may lie between two reports, for example when clocks change."""


@task("report the day")
async def report_day(now: datetime) -> Page:
    """The report on the last 24 hours; cache counts are those since the previous day's report."""
    runs = await read_runs(now - 8 * DAY, now)
    previous_cache = await read_table(CACHE_BY_DAY, now - DAY + _TOLERANCE)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_daily(resources, runs, previous_cache, now)


@task("report the week")
async def report_week(now: datetime) -> Page:
    """The report on the last seven days compared with the seven before; sizes are compared with the previous report."""
    runs = await read_runs(now - 2 * WEEK, now)
    previous_cache = await read_table(CACHE_BY_WEEK, now - WEEK + _TOLERANCE)
    previous_sizes = await read_table(SIZES, now - WEEK + _TOLERANCE)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_weekly(resources, runs, previous_cache, previous_sizes, now)


@task("report the month")
async def report_month(now: datetime) -> Page:
    """The report on monthly maintenance work; growth is that since a weekly report at least three weeks old."""
    previous_sizes = await read_table(SIZES, now - 3 * WEEK)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_monthly(resources, settings(), previous_sizes, now)


@task("mail the report")
async def mail_report(name: str, report: Report) -> None:
    """Mail the report to OPS_EMAIL. `name` is unique per run and part of the Message-ID, which is the same on a retry.

    Raises:
        ConfigurationError: OPS_EMAIL, MAIL_URL or MAIL_FROM is not set.
    """
    current = settings()
    if current.ops_email is None or current.mail_from is None:
        raise ConfigurationError("OPS_EMAIL, MAIL_URL and MAIL_FROM must be set to mail a report")
    message_id = f"<{name}@{current.mail_from.rpartition('@')[2]}>"
    async with open_resources() as resources:
        await resources.mailer.send(as_mail(report, current.ops_email, message_id))
