"""The job `registry-report`."""

from datetime import UTC, date, datetime

from prefect import State

from flows.runtime.job import job
from flows.runtime.report_run import leave
from tasks.analyst_reports import report_registries
from wishcraft.analytics.filters import parse_filter
from wishcraft.domain.registries import EventType
from wishcraft.reports.export import FileFormat


@job("registry-report")
async def registry_report(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Say how registries do: how far they are fulfilled, what is given and by how many, what sells and what does not.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All if empty.
        event_types: What is celebrated. All if empty.
        first_day: Only registries that were created on this day or later, such as 2026-01-01.
        last_day: Only registries that were created on this day or before.
        file: Leave the page, or its figures by shop and event type, as a file in EXPORT_FOLDER too.
    """
    question = parse_filter(shops, event_types, first_day, last_day)
    making = report_registries.submit(question, datetime.now(UTC), file)
    return await leave("registry-report", "Registries", making)
