"""The job `daily-report`."""

from datetime import UTC, datetime

from prefect import State
from prefect.states import Completed

from flows.job import job
from flows.pages import publish
from tasks.maintenance import CACHE_BY_DAY, report_day


@job("daily-report")
async def daily_report(mail: bool = False) -> State[None]:
    """Tell of the last 24 hours: errors, failed runs and mails, how the jobs did, how the cache was used.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    page = await report_day(datetime.now(UTC))
    await publish(
        "daily-report", "Daily report", page.verdict, page.body, {CACHE_BY_DAY: page.tables["cache"]}, mail=mail
    )
    return Completed(message=page.verdict)
