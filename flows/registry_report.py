"""The job `registry-report`."""

from datetime import UTC, date, datetime

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish_when_done
from tasks.analyst_reports import report_registries
from wishcraft.analytics.filters import parse_filter
from wishcraft.domain.registries import EventType
from wishcraft.reports.run_file import FileFormat


@job("registry-report")
async def registry_report(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Report how registries perform: completion, gifts and guests, products that sell and products that do not.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All shops if empty.
        event_types: Event types of the registries. All types if empty.
        first_day: Only registries created on this day or later, such as 2026-01-01.
        last_day: Only registries created on this day or earlier.
        file: Also write a file, linked in the summary: html has the page, other formats the figures by shop
            and event type.
    """
    report_filter = parse_filter(shops, event_types, first_day, last_day)
    report = report_registries.submit(report_filter, datetime.now(UTC), file)
    return await publish_when_done("registry-report", report)
