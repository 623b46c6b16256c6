"""The job `demand-forecast`."""

from datetime import date, datetime
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish_when_done
from tasks.analyst_reports import forecast_demand
from wishcraft.analytics.filters import parse_day, parse_filter
from wishcraft.domain.registries import EventType
from wishcraft.reports.run_file import FileFormat
from wishcraft.settings import time_zone


@job("demand-forecast")
async def demand_forecast(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    weeks: Annotated[int, Field(ge=1, le=26)] = 8,
    today: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Forecast what guests buy for the coming events, compared with the stock, and which variants run out.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All shops if empty.
        event_types: Event types of the registries. All types if empty.
        weeks: Number of weeks ahead whose events are included.
        today: First day of the forecast, such as 2026-03-14. Today if empty.
        file: Also write a file, linked in the summary: html has the page, other formats the forecast by variant.
    """
    first = parse_day(today) or datetime.now(time_zone()).date()
    report_filter = parse_filter(shops, event_types, None, None)
    return await publish_when_done("demand-forecast", forecast_demand.submit(report_filter, first, weeks, file))
