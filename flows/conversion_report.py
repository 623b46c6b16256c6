"""The job `conversion-report`."""

from datetime import UTC, date, datetime
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish_when_done
from tasks.analyst_reports import report_conversion
from wishcraft.analytics.filters import parse_day, parse_filter
from wishcraft.domain.periods import last_weeks
from wishcraft.domain.registries import EventType
from wishcraft.reports.run_file import FileFormat
from wishcraft.settings import time_zone


@job("conversion-report")
async def conversion_report(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    weeks: Annotated[int, Field(ge=1, le=104)] = 12,
    today: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Report where guests stop between a visit and a purchase, and the effect of reminders.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All shops if empty.
        event_types: Event types of the registries. All types if empty.
        weeks: Number of weeks, Monday to Sunday, including the current week.
        today: Last day of the report, such as 2026-03-14. Today if empty.
        file: Also write a file, linked in the summary: html has the page, other formats the funnel by shop,
            event type and week.
    """
    now = datetime.now(UTC)
    days = last_weeks(parse_day(today) or now.astimezone(time_zone()).date(), weeks)
    report = report_conversion.submit(parse_filter(shops, event_types, days.first, days.last), now, file)
    return await publish_when_done("conversion-report", report)
