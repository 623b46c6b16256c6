"""The job `monthly-report`."""

from prefect import State

from flows.job import job
from flows.pages import due, publish
from tasks.maintenance import report_month


@job("monthly-report")
async def monthly_report(mail: bool = False) -> State[None]:
    """Tell what needs somebody once a month: indexes, dead rows, sizes, dependencies, keys, tokens, settings.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    return await publish("monthly-report", "Monthly report", await report_month(due()), mail=mail)
