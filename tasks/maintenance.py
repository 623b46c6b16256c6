"""The tasks of the maintenance reports: what Prefect knows and what the stores know, put together."""

from datetime import datetime, timedelta
from typing import Final

from tasks.attempts import task
from tasks.run_history import read_runs, read_table
from wishcraft.domain.maintenance import Page
from wishcraft.resources import open_resources
from wishcraft.services import maintenance
from wishcraft.services.maintenance import CACHE_BY_DAY, CACHE_BY_WEEK, DAY, SIZES, WEEK
from wishcraft.settings import settings

_EARLY: Final = timedelta(hours=4)
"""A report may come so much sooner after the one before it, be it that clocks change."""


@task("report the day")
async def report_day(now: datetime) -> Page:
    """The page of the last 24 hours; what the cache did is counted from the report of the day before."""
    runs = await read_runs(now - 8 * DAY, now)
    earlier = await read_table(CACHE_BY_DAY, now - DAY + _EARLY)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.report_day(resources, runs, earlier, now)


@task("report the week")
async def report_week(now: datetime) -> Page:
    """The page of the last seven days beside the seven before; it goes on from the report of the week before."""
    runs = await read_runs(now - 2 * WEEK, now)
    cache = await read_table(CACHE_BY_WEEK, now - WEEK + _EARLY)
    sizes = await read_table(SIZES, now - WEEK + _EARLY)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.report_week(resources, runs, cache, sizes, now)


@task("report the month")
async def report_month(now: datetime) -> Page:
    """The page of what needs somebody once a month; growth is since a weekly report of three weeks ago."""
    sizes = await read_table(SIZES, now - 3 * WEEK)
    async with open_resources(redis_timeout=5) as resources:
        return await maintenance.report_month(resources, settings(), sizes, now)
