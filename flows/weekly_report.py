"""The job `weekly-report`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.maintenance_reports import report_week


@job("weekly-report")
async def weekly_report(mail: bool = False) -> State[None]:
    """Compare the week with the one before: jobs, cache, slow queries, registries with and without views.

    Args:
        mail: Also mail the report to OPS_EMAIL.
    """
    return await publish("weekly-report", await report_week(scheduled_start()), mail=mail)
