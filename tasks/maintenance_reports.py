"""The tasks of the maintenance reports: what Prefect knows and what the stores know, put together."""

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

_EARLY: Final = timedelta(hours=4)
"""A report may come so much sooner after the one before it, be it that clocks change."""


@task("report the day")
async def report_day(now: datetime) -> Page:
    """The page of the last 24 hours; what the cache did is counted from the report of the day before."""
    runs = await read_runs(now - 8 * DAY, now)
    earlier = await read_table(CACHE_BY_DAY, now - DAY + _EARLY)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_daily(resources, runs, earlier, now)


@task("report the week")
async def report_week(now: datetime) -> Page:
    """The page of the last seven days beside the seven before; it goes on from the report of the week before."""
    runs = await read_runs(now - 2 * WEEK, now)
    cache = await read_table(CACHE_BY_WEEK, now - WEEK + _EARLY)
    sizes = await read_table(SIZES, now - WEEK + _EARLY)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_weekly(resources, runs, cache, sizes, now)


@task("report the month")
async def report_month(now: datetime) -> Page:
    """The page of what needs somebody once a month; growth is since a weekly report of three weeks ago."""
    sizes = await read_table(SIZES, now - 3 * WEEK)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.build_monthly(resources, settings(), sizes, now)


@task("mail the page")
async def mail_page(name: str, report: Report) -> None:
    """Mail the report to OPS_EMAIL; `name` makes it the same mail on every try.

    Raises:
        ConfigurationError: OPS_EMAIL, SMTP_URL or MAIL_FROM is not set.
    """
    known = settings()
    if known.ops_email is None or known.mail_from is None:
        raise ConfigurationError("OPS_EMAIL, SMTP_URL and MAIL_FROM must be set to mail a report")
    message_id = f"<{name}@{known.mail_from.rpartition('@')[2]}>"
    async with open_resources() as resources:
        await resources.mailer.send(as_mail(report, known.ops_email, message_id))
