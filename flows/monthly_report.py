"""The job `monthly-report`."""

from datetime import UTC, datetime

from prefect import State
from prefect.states import Completed

from flows.job import job
from flows.pages import publish
from tasks.maintenance import report_month


@job("monthly-report")
async def monthly_report(mail: bool = False) -> State[None]:
    """Tell what needs somebody once a month: indexes, dead rows, sizes, dependencies, keys, tokens, settings.

    Args:
        mail: Mail the report to OPS_EMAIL too.
    """
    page = await report_month(datetime.now(UTC))
    await publish(
        "monthly-report",
        "Monthly report",
        page.verdict,
        page.body,
        {"monthly-report-sizes": page.tables["sizes"]},
        mail=mail,
    )
    return Completed(message=page.verdict)
