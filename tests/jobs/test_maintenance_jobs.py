from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, State, get_client
from prefect.flow_engine import run_flow_async
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import Scheduled
from redis.asyncio import Redis

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from flows.check_invariants import check_invariants
from flows.daily_report import daily_report
from flows.monthly_report import monthly_report
from flows.sync_inventory import sync_inventory
from flows.weekly_report import weekly_report
from tasks.runtime.run_history import read_runs, read_table
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import artifacts_of, summary_of
from wishcraft.resources import open_resources
from wishcraft.services.operations.vulnerabilities import AuditResult
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
BROKEN = "lumiere-maison.myshopify.com"


async def violations(settings: Settings) -> dict[str, float]:
    """The metric `invariant_violations` by invariant."""
    async with open_resources(settings) as resources:
        found = await resources.counters.read()
    return {series.labels[0]: series.value for series in found["invariant_violations"]}


async def tables_of(state: State[Any]) -> dict[str | None, str | None]:
    """Keys and descriptions of the run's table artifacts."""
    return {artifact.key: artifact.description for artifact in await artifacts_of(state, "table")}


async def run_late(job: Flow[..., Any], moment: datetime) -> State[Any]:
    """Run the job with an earlier scheduled start."""
    async with get_client() as client:
        run = await client.create_flow_run(job, state=Scheduled(scheduled_time=moment))
    state = await run_flow_async(job, flow_run=run, return_type="state")
    assert state
    return state


async def test_only_an_unrepaired_violation_is_a_warning_and_a_metric(
    demo: Demo, settings: Settings, redis: Redis
) -> None:
    assert await redis.ping()
    demo.execute("UPDATE shops SET synced_at = now() - interval '2 hours' WHERE domain = %s", [BROKEN])
    demo.execute("UPDATE registry_items SET quantity_purchased = 77 WHERE id = (SELECT min(id) FROM registry_items)")
    state = await check_invariants(return_state=True)
    assert state.is_completed()
    assert "1 purchase repaired" in str(state.message)
    assert " 0 " not in str(state.message)
    warning = "Left as they are: 1 shop not synced for an hour: look at the runs of sync-inventory."
    assert str(state.message).endswith(warning)
    assert f"\n\n{warning}\n\n" in await summary_of(state)
    assert await violations(settings) == {"invalidations": 0, "purchases": 0, "entries": 0, "reminders": 0, "syncs": 1}
    page = await summary_of(state)
    assert BROKEN.removesuffix(".myshopify.com") in page.split("## Worth a look")[1]


async def test_daily_and_weekly_reports_show_a_failed_run_and_publish_tables_for_the_next(simulator: Simulator) -> None:
    began = datetime.now(UTC)
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    await sync_inventory([BROKEN], return_state=True)
    [run] = [run for run in await read_runs(began, datetime.now(UTC)) if run.ended >= began]
    assert (run.job, run.outcome) == ("sync-inventory", "failed")
    day = await daily_report(return_state=True)
    assert "failed run" in str(day.message)
    assert "Shopify does not accept" in await summary_of(day)
    assert f"[{run.name}]({run.url})" in await summary_of(day)
    assert await tables_of(day) == {"daily-report-cache": "Daily report: cache"}
    assert run.url not in await summary_of(await run_late(daily_report, began))  # its name may be another run's, too
    week = await weekly_report(return_state=True)
    assert week.is_completed()
    assert f"[{run.name}]({run.url})" in await summary_of(week)
    assert await tables_of(week) == {
        "weekly-report-cache": "Weekly report: cache",
        "weekly-report-sizes": "Weekly report: sizes",
    }
    sizes = await read_table("weekly-report-sizes", datetime.now(UTC))
    assert sizes.created_at
    assert sizes.created_at >= began
    assert {row["table"] for row in sizes.rows} >= {"registries", "shops"}
    assert (await read_table("weekly-report-sizes", began - timedelta(days=1))).created_at is None


async def test_monthly_report_completes_if_vulnerabilities_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable() -> AuditResult:
        return AuditResult(unreachable="no route to osv.dev")

    monkeypatch.setattr("wishcraft.reports.maintenance.audit", unreachable)
    month = await monthly_report(return_state=True)
    assert month.is_completed()
    assert "gave no usable answer (no route to osv.dev)" in await summary_of(month)
    assert await tables_of(month) == {"monthly-report-sizes": "Monthly report: sizes"}


@pytest.mark.parametrize(("job", "period"), [("daily-report", timedelta(days=1)), ("weekly-report", timedelta(days=7))])
async def test_consecutive_reports_neither_skip_nor_repeat_an_hour_of_the_year(job: str, period: timedelta) -> None:
    deployments = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    [[schedule]] = [deployment["schedules"] for deployment in deployments if deployment["name"] == job]
    runs = await CronSchedule(**schedule).get_dates(400, start=datetime(2026, 1, 1, tzinfo=UTC))
    assert {(after - before).total_seconds() for before, after in pairwise(runs)} == {period.total_seconds()}
