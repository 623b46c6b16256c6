"""The job `cleanup-logs`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.cleanup import delete_old
from wishcraft.domain.retention import Bounds, Kind, cutoffs

Days = Annotated[int, Field(ge=1, le=3650)]
Rows = Annotated[int, Field(ge=1, le=50_000)]
Minutes = Annotated[int, Field(ge=1, le=50)]


@job("cleanup-logs")
async def cleanup_logs(
    audit_days: Days = 30,
    compliance_days: Annotated[int, Field(ge=365, le=3650)] = 730,
    webhook_days: Days = 30,
    analytics_days: Days = 400,
    service_days: Days = 400,
    run_days: Days = 30,
    batch_rows: Rows = 5000,
    minutes: Minutes = 30,
    dry_run: bool = False,
) -> State[dict[str, int]]:
    """Delete audit logs, handled webhook events, analytics, service minutes and Prefect's runs past their time.

    Args:
        audit_days: Days for which ordinary audit logs are kept.
        compliance_days: Days for which audit logs of compliance actions are kept: 365 or more.
        webhook_days: Days for which handled webhook events are kept, from when they were handled. Others always are.
        analytics_days: Days for which analytics events and views by day are kept.
        service_days: Days for which it is kept how each minute was served, which `service-levels` goes by.
        run_days: Days for which Prefect's runs are kept, with their tasks, logs and artifacts.
        batch_rows: The most rows that one transaction deletes.
        minutes: No batch is begun later than this after the start; the next run goes on with what is left.
        dry_run: Count what is past its time; delete nothing.
    """
    now = datetime.now(UTC)
    days = {
        Kind.AUDIT: audit_days,
        Kind.COMPLIANCE: compliance_days,
        Kind.WEBHOOKS: webhook_days,
        Kind.ANALYTICS: analytics_days,
        Kind.VIEWS: analytics_days,
        Kind.MINUTES: service_days,
        Kind.RUNS: run_days,
    }
    bounds = Bounds(batch_rows, now + timedelta(minutes=minutes), dry_run)
    outcomes = await run_batches(delete_old, [[kind] for kind in days], before=cutoffs(days, now), bounds=bounds)
    return await summarise("cleanup-logs", outcomes, watched=("left",), noun="table")
