"""Which runs of schedules need not start, so that a job that takes longer than its interval does not pile up runs."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

import orjson
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

DATED_TAG: Final = "report"
"""Tag of the deployments whose runs are about the time for which they were scheduled: none does another's work."""


def find_superseded(waiting: Iterable[FlowRun]) -> list[FlowRun]:
    """The runs of schedules of which a later one, of the same deployment and with the same parameters, waits as well.

    A run that a person or a program created or repeats is always started, and so is each report.
    """
    newest: dict[tuple[object, bytes], FlowRun] = {}
    superseded = []
    for run in sorted(waiting, key=_scheduled_for):
        if run.auto_scheduled and not run.run_count and DATED_TAG not in run.tags:
            key = run.deployment_id, orjson.dumps(run.parameters, option=orjson.OPT_SORT_KEYS)
            if earlier := newest.get(key):
                superseded.append(earlier)
            newest[key] = run
    return superseded


async def cancel_superseded(client: PrefectClient, waiting: Iterable[FlowRun]) -> set[UUID]:
    """Cancel what `find_superseded` finds; the ids of these runs."""
    superseded = {run.id for run in find_superseded(waiting)}
    message = "Not started: the next run of the schedule was due, which does its work, too."
    for run_id in superseded:
        with suppress(ObjectNotFound):  # Prefect deletes them when their schedule is paused or changed
            await client.set_flow_run_state(run_id, Cancelled(message=message))
    return superseded


def _scheduled_for(run: FlowRun) -> float:
    """When the schedule wanted it, in seconds; a run that waits for its turn keeps this time."""
    return run.expected_start_time.timestamp() if run.expected_start_time else 0.0
