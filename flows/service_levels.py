"""The job `service-levels`."""

from datetime import date
from typing import Final

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.service_levels import count_runs, tally_days
from wishcraft.analytics.filters import parse_day
from wishcraft.domain.service_levels import assess, end_of
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.page import Page
from wishcraft.reports.service_levels import draw_days, explanation, overview, rows, verdict
from wishcraft.settings import time_zone

NAME: Final = "service-levels"


@job(NAME)
async def service_levels(until: date | None = None, mail: bool = False) -> State[None]:
    """Compare uptime, latency, errors, cache hits, jobs, mails, complaints and webhooks with their objectives.

    A missed objective does not fail the run.

    Args:
        until: Last day of the report, in the time zone of TZ, such as 2026-03-14. Until now if empty.
        mail: Also mail the report to OPS_EMAIL.
    """
    end = end_of(parse_day(until), scheduled_start(), time_zone())
    days = await tally_days(end, await count_runs(end))
    assessments = assess(days, LATENCY_BOUNDS)
    body = f"{overview(assessments)}\n\n{draw_days(days, end)}\n\n{explanation(end)}"
    return await publish(NAME, Page(verdict(assessments), body, {NAME: rows(assessments)}), mail=mail)
