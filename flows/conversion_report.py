"""The job `conversion-report`."""

from datetime import UTC, date, datetime
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.report_run import leave
from tasks.analyst_reports import report_conversion
from wishcraft.analytics.filters import parse_filter
from wishcraft.domain.periods import last_weeks
from wishcraft.domain.registries import EventType
from wishcraft.domain.service_levels import end_of
from wishcraft.reports.export import FileFormat


@job("conversion-report")
async def conversion_report(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    weeks: Annotated[int, Field(ge=1, le=104)] = 12,
    today: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Say where guests give up between looking and giving, by shop, event type and week, and what reminders do.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All if empty.
        event_types: What is celebrated. All if empty.
        weeks: How many weeks, from Monday to Sunday, with the one under way.
        today: The last day that is looked at, such as 2026-03-14. Today if empty.
        file: Leave the page, or the funnel by shop, event type and week, as a file in EXPORT_FOLDER too.
    """
    now = end_of(today, datetime.now(UTC))
    days = last_weeks(today or now.date(), weeks)
    making = report_conversion.submit(parse_filter(shops, event_types, days.first, days.last), now, file)
    return await leave("conversion-report", "Conversion", making)
