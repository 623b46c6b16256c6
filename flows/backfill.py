"""The job `backfill`."""

import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from prefect import Flow, State, tags
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.cache_warm import cache_warm
from flows.check_invariants import check_invariants
from flows.conversion_report import conversion_report
from flows.demand_forecast import demand_forecast
from flows.reconcile_orders import reconcile_orders
from flows.registry_report import registry_report
from flows.runtime.job import job as make_job
from flows.runtime.job import summarise
from flows.send_invitations import send_invitations
from flows.send_reminders import send_reminders
from flows.service_levels import service_levels
from flows.sync_inventory import sync_inventory
from tasks.runtime.progress import is_run_stopping
from tasks.runtime.run_history import find_completed_tags
from tasks.runtime.shop_batches import find_shop_batches
from tasks.runtime.ui_links import run_form, run_page
from wishcraft.analytics.filters import parse_days
from wishcraft.domain.backfills import Step, plan
from wishcraft.domain.periods import Days
from wishcraft.domain.registries import EventType
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import QueryRefused
from wishcraft.reports.run_file import FileFormat
from wishcraft.settings import time_zone

JobName = Literal[
    "cache-warm", "sync-inventory", "reconcile-orders", "send-reminders", "send-invitations", "check-invariants",
    "service-levels", "registry-report", "conversion-report", "demand-forecast",
]  # fmt: skip
JOBS: Final[Mapping[str, Flow[..., Any]]] = {
    each.name: each
    for each in (
        cache_warm, sync_inventory, reconcile_orders, send_reminders, send_invitations, check_invariants,
        service_levels, registry_report, conversion_report, demand_forecast,
    )
}  # fmt: skip


_DRY: Final = (
    "This was a dry run. To run it in earnest, start `backfill` again with the same parameters and `dry_run` off."
)


@make_job("backfill")
async def backfill(
    job: JobName,
    first_day: date | None = None,
    last_day: date | None = None,
    shops: list[str] | None = None,
    force: bool = False,
    repair: bool = True,
    sample: Annotated[int, Field(ge=1, le=5000)] = 100,
    mail: bool = False,
    event_types: list[EventType] | None = None,
    weeks: Annotated[int, Field(ge=1, le=104)] | None = None,
    file: FileFormat = "html",
    dry_run: bool = True,
    again: bool = False,
) -> State[dict[str, int]]:
    """Run a job for each of some past days, or for each of some shops.

    Each step is a subflow run of this run. A failed step does not stop the others. When the same backfill runs again,
    it skips the steps that succeeded, so it resumes where it stopped; a day that was not over is run again. A field
    that the job does not have must keep its default.

    Args:
        job: Job to run.
        first_day: First day, such as 2026-03-01. Without days the job runs once for each shop.
        last_day: Last day, today at the latest.
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All active shops if empty.
        force: For cache-warm: write every entry again, including those that are current.
        repair: For check-invariants: repair what is safe to repair; otherwise only report it.
        sample: For check-invariants: number of each shop's cache entries that are compared with PostgreSQL.
        mail: For service-levels: also mail each report to OPS_EMAIL.
        event_types: For registry-report, conversion-report and demand-forecast: event types. All types if empty.
        weeks: For conversion-report and demand-forecast: number of weeks. As the job usually does if empty.
        file: For the three reports: the file that each run writes.
        dry_run: Only list the steps; if the job has a parameter `dry_run`, run each step as a dry run.
        again: Also run the steps that an earlier backfill has done.
    """
    given = {
        "force": force, "repair": repair, "sample": sample, "mail": mail, "event_types": event_types, "weeks": weeks,
        "file": file,
    }  # fmt: skip
    fields = backfill.parameters.properties
    unusual = {name: value for name, value in given.items() if value not in (None, [], fields[name].get("default"))}
    steps = await _plan(job, parse_days(first_day, last_day), shops or [], unusual)
    done = set() if again else await find_completed_tags([step.tag(job) for step in steps if step.is_final])
    progress = await acreate_progress_artifact(0, description="Percentage of the steps that are done.")
    results: list[WorkResult] = []
    for step in steps:
        if step.tag(job) in done:
            results.append(WorkResult(step.name, {"done before": 1}))
        elif await is_run_stopping():
            results.append(WorkResult(step.name, stopped=True))
        else:
            has_run = any(result.seconds for result in results)
            results.append(await _run(job, step, dry_run=dry_run, has_run=has_run))
        await aupdate_progress_artifact(progress, 100 * len(results) / len(steps))
    if not dry_run:
        return await summarise("backfill", results, noun="step")
    return await summarise("backfill", results, noun="step", warning=_DRY, page_only=_form())


def _form() -> str:
    """A link to the form with this run's parameters and `dry_run` off; empty if the run has no deployment."""
    if not deployment.id:
        return ""
    return f"[Run it in earnest]({run_form(deployment.id, {**flow_run.parameters, 'dry_run': False})})"


async def _plan(job: JobName, days: Days, shops: Sequence[str], parameters: Mapping[str, Any]) -> list[Step]:
    known_parameters = list(JOBS[job].parameters.properties)
    if days == Days() and "shops" in known_parameters:
        shops = [shop for batch in await find_shop_batches(list(shops)) for shop in batch]
    try:
        return plan(known_parameters, days, shops, parameters, datetime.now(time_zone()))
    except ValueError as error:
        raise QueryRefused(f"{job}: {error}") from None


async def _run(job: JobName, step: Step, *, dry_run: bool, has_run: bool) -> WorkResult:
    """Run the step; its refusal is that of all steps unless one of them `has_run` (a shop may be gone since then)."""
    flow, parameters = JOBS[job], dict(step.parameters)
    if dry_run and "dry_run" not in flow.parameters.properties:
        return WorkResult(step.name, {"to run": 1})
    if dry_run:
        parameters["dry_run"] = True
    started = time.perf_counter()
    with tags("backfill", *([step.tag(job)] if step.is_final and not dry_run else [])):
        flow_call: Any = flow(**parameters, return_state=True)
        state: State[Any] = await flow_call
    seconds = time.perf_counter() - started
    if state.is_completed():
        counts = await state.aresult()
        return WorkResult(step.name, {"dry runs" if dry_run else "runs": 1, **(counts or {})}, seconds)
    if state.name == "Refused" and not has_run:  # and so would be every other step: they have the same parameters
        raise QueryRefused(f"{flow.name}: {str(state.message).removeprefix('Refused: ')}")
    if state.is_cancelled() and state.name != "Refused":
        return WorkResult(step.name, seconds=seconds, stopped=True)
    page = run_page(str(state.state_details.flow_run_id))
    return WorkResult(step.name, {}, seconds, f"{state.name}: {state.message}", f"Look at the run of this step: {page}")
