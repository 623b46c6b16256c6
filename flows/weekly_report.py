"""The job `weekly-report`."""

from datetime import UTC, datetime

from prefect import State
from prefect.states import Completed

from flows.job import job
from flows.pages import publish
from tasks.maintenance import CACHE_BY_WEEK, SIZES, report_week


@job("weekly-report")
async def weekly_report(mail: bool = False) -> State[None]:
    """Tell how the week went beside the one before: jobs, cache, slow queries, what guests read and what they do not.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    page = await report_week(datetime.now(UTC))
    tables = {CACHE_BY_WEEK: page.tables["cache"], SIZES: page.tables["sizes"]}
    await publish("weekly-report", "Weekly report", page.verdict, page.body, tables, mail=mail)
    return Completed(message=page.verdict)
