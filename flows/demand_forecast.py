"""The job `demand-forecast`."""

from datetime import UTC, date, datetime
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.report_run import leave
from tasks.analyst_reports import forecast_demand
from wishcraft.analytics.filters import parse_filter
from wishcraft.domain.registries import EventType
from wishcraft.reports.export import FileFormat


@job("demand-forecast")
async def demand_forecast(
    shops: list[str] | None = None,
    event_types: list[EventType] | None = None,
    weeks: Annotated[int, Field(ge=1, le=26)] = 8,
    today: date | None = None,
    file: FileFormat = "html",
) -> State[None]:
    """Say which variants the coming events will run out of: what guests are likely to buy beside what is in stock.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All if empty.
        event_types: What is celebrated. All if empty.
        weeks: How far ahead events are looked at.
        today: The day from which is looked ahead, such as 2026-03-14. Today if empty.
        file: Leave the page, or the forecast by variant, as a file in EXPORT_FOLDER too.
    """
    first = today or datetime.now(UTC).date()
    question = parse_filter(shops, event_types, None, None)
    return await leave("demand-forecast", "Demand", forecast_demand.submit(question, first, weeks, file))
