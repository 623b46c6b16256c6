"""The job `service-levels`."""

from datetime import date
from typing import Final

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish, scheduled_start
from tasks.service_levels import count_runs, tally_days
from wishcraft.domain.service_levels import assess, end_of
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.page import Page
from wishcraft.reports.service_levels import draw_days, explanation, overview, rows, verdict

NAME: Final = "service-levels"


@job(NAME)
async def service_levels(until: date | None = None, mail: bool = False) -> State[None]:
    """Say how well the service kept what it promises: uptime, latency, errors, cache hits, jobs and mails.

    A missed objective is what the report says, not a failure of the run.

    Args:
        until: The report's last day (UTC), such as 2026-03-14. All that is known by now if empty.
        mail: Mail the report to OPS_EMAIL too.
    """
    end = end_of(until, scheduled_start())
    days = await tally_days(end, await count_runs(end))
    found = assess(days, LATENCY_BOUNDS)
    body = f"{overview(found)}\n\n{draw_days(days, end)}\n\n{explanation(end)}"
    return await publish(NAME, "Service levels", Page(verdict(found), body, {NAME: rows(found)}), mail=mail)
