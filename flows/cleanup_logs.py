"""The job `cleanup-logs`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.cleanup import delete_expired
from wishcraft.domain.retention import Bounds, DataKind, cutoffs

Days = Annotated[int, Field(ge=1, le=3650)]
Rows = Annotated[int, Field(ge=1, le=50_000)]
Minutes = Annotated[int, Field(ge=1, le=50)]


@job("cleanup-logs")
async def cleanup_logs(
    audit_days: Days = 30,
    compliance_days: Annotated[int, Field(ge=365, le=3650)] = 730,
    webhook_days: Days = 90,
    payload_days: Days = 7,
    order_days: Annotated[int, Field(ge=60, le=3650)] = 90,
    stock_days: Days = 30,
    analytics_days: Days = 400,
    service_days: Days = 400,
    invitation_days: Days = 30,
    file_days: Days = 30,
    run_days: Days = 30,
    batch_rows: Rows = 5000,
    minutes: Minutes = 30,
    dry_run: bool = False,
) -> State[dict[str, int]]:
    """Delete what has expired: audit logs, webhooks, orders, stock, analytics, minutes, invitations, files and runs.

    Args:
        audit_days: Retention of ordinary audit logs, in days.
        compliance_days: Retention of audit logs of compliance actions and of the journal of erasures, in days: at
            least 365, and as long as backups are kept.
        webhook_days: Retention of webhook events, in days after they were handled. Unhandled events and dead letters
            are never deleted.
        payload_days: Retention of the payloads of webhook events, which are personal data, in days after they were
            handled. Unhandled events and dead letters keep theirs.
        order_days: Retention of the state of orders, which decides which of two webhooks is newer, in days after the
            last one: at least 60. A shop's stays while it has dead letters about orders. Purchases stay. Line items
            that were cancelled or refunded unmatched are deleted too; those that were dismissed stay so, without names.
        stock_days: Retention of what webhooks said of products and stock that no registry wishes for, in days.
        analytics_days: Retention of analytics events and views by day, in days.
        service_days: Retention of service minutes, which `service-levels` reads, in days.
        invitation_days: Retention of invitations after their end without an answer, in days. Then an address may be
            invited to the registry again.
        file_days: Retention of files for people, such as what is known about a customer, in days.
        run_days: Retention of runs with tasks, logs and artifacts, in days. Prefect itself deletes ended ones after 31.
        batch_rows: Maximum number of rows per transaction.
        minutes: No batch starts later than this after the start of the run; the next run deletes the rest.
        dry_run: Count what has expired; delete nothing.
    """
    now = datetime.now(UTC)
    days = {
        DataKind.AUDIT: audit_days,
        DataKind.COMPLIANCE: compliance_days,
        DataKind.PAYLOADS: payload_days,
        DataKind.WEBHOOKS: webhook_days,
        DataKind.ORDERS: order_days,
        DataKind.PRODUCTS: stock_days,
        DataKind.STOCK: stock_days,
        DataKind.ANALYTICS: analytics_days,
        DataKind.VIEWS: analytics_days,
        DataKind.MINUTES: service_days,
        DataKind.INVITATIONS: invitation_days,
        DataKind.FILES: file_days,
        DataKind.ERASURES: compliance_days,
        DataKind.RUNS: run_days,
    }
    bounds = Bounds(batch_rows, now + timedelta(minutes=minutes), dry_run)
    results = await run_batches(delete_expired, [[kind] for kind in days], before=cutoffs(days, now), bounds=bounds)
    return await summarise("cleanup-logs", results, watched=("left",), noun="table")
