"""The job `weekly-report`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.maintenance_reports import report_week


@job("weekly-report")
async def weekly_report(mail: bool = False) -> State[None]:
    """Tell how the week went beside the one before: jobs, cache, slow queries, what guests read and what they do not.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    return await publish("weekly-report", "Weekly report", await report_week(scheduled_start()), mail=mail)
