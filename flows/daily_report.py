"""The job `daily-report`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.maintenance_reports import report_day


@job("daily-report")
async def daily_report(mail: bool = False) -> State[None]:
    """Report on the last 24 hours: errors, failed runs and mails, jobs, cache usage.

    Args:
        mail: Also mail the report to OPS_EMAIL.
    """
    return await publish("daily-report", await report_day(scheduled_start()), mail=mail)
