"""The job `daily-report`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.maintenance_reports import report_day


@job("daily-report")
async def daily_report(mail: bool = False) -> State[None]:
    """Tell of the last 24 hours: errors, failed runs and mails, how the jobs did, how the cache was used.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    return await publish("daily-report", "Daily report", await report_day(scheduled_start()), mail=mail)
