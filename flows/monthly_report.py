"""The job `monthly-report`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.maintenance_reports import report_month


@job("monthly-report")
async def monthly_report(mail: bool = False) -> State[None]:
    """List the monthly maintenance work: indexes, dead rows, sizes, dependencies, keys, tokens, settings.

    Args:
        mail: Also mail the report to OPS_EMAIL.
    """
    return await publish("monthly-report", await report_month(scheduled_start()), mail=mail)
