import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import State, flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.runtime import flow_run
from prefect.states import Running
from prefect.utilities.callables import parameter_schema

from flows.cleanup_logs import cleanup_logs
from flows.cleanup_sessions import cleanup_sessions
from tasks.cleanup import delete_expired
from tasks.runtime.progress import STOPPING
from tests.support.aliases import Demo
from tests.support.prefect_history import delete_all_runs
from wishcraft.cache.keys import SessionName
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    each["name"]: each for each in yaml.safe_load(PREFECT_YAML.read_text())["deployments"]
}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with files of known ages: two old ones for people, and an old entry of the journal."""
    for name, days in {
        "runs/a/new.json": 29, "runs/a/old.json": 31, "runs/b/.unfinished": 31, "erasures/year-old.json": 700,
        "erasures/older.json": 731,
    }.items():  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (time.time() - days * 86_400,) * 2)
    return settings.model_copy(update={"files_url": tmp_path.as_uri()})


def names_below(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*"))


def add_logs(demo: Demo, action: str, days: int, rows: int) -> None:
    demo.execute(
        """INSERT INTO audit_logs (actor, action, resource, resource_id, created_at)
           SELECT 'ops', %s, 'registry', n, now() - %s * interval '1 day' FROM generate_series(1, %s) n""",
        [action, days, rows],
    )


@pytest.fixture(autouse=True)
def logs_of_known_ages(demo: Demo) -> None:
    demo.execute("TRUNCATE audit_logs, webhook_events, analytics_events, sessions, registry_views, service_minutes")
    add_logs(demo, "registry.archived", 31, 12)
    add_logs(demo, "registry.archived", 29, 5)
    add_logs(demo, "customers/redact", 31, 3)
    add_logs(demo, "customers/redact", 731, 2)
    for days in (399, 401):
        demo.execute(
            "INSERT INTO service_minutes SELECT now() - %s * interval '1 day', true, 0, 0, '{0}', 0, 0, 0, 0", [days]
        )


@pytest.fixture(autouse=True)
async def no_old_runs() -> None:
    """Other tests of the session create runs that are due in the past."""
    await delete_all_runs()


async def rows_of(state: State[Any]) -> dict[str, dict[str, Any]]:
    """The rows of the run's table artifact, by database table."""
    run_id = state.state_details.flow_run_id
    assert run_id
    query = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), type=ArtifactFilterType(any_=["table"]))
    async with get_client() as client:
        [artifact] = await client.read_artifacts(artifact_filter=query)
    assert artifact.description == state.message
    return {row["table"]: row for row in json.loads(str(artifact.data))}


def count_logs(demo: Demo) -> dict[str, int]:
    return dict(demo.execute("SELECT action, count(*) FROM audit_logs GROUP BY action").fetchall())


async def test_expired_logs_are_deleted_and_counted_by_table(demo: Demo, tmp_path: Path) -> None:
    state = await cleanup_logs(batch_rows=5, return_state=True)
    assert state.is_completed(), state.message
    assert state.message == "14 tables: 18 old, 18 deleted."
    rows = await rows_of(state)
    assert {table: row["deleted"] for table, row in rows.items()} == {
        "audit logs": 12,
        "compliance audit logs": 2,
        "payloads of webhooks": 0,
        "handled webhook events": 0,
        "orders with their settled line items": 0,
        "products without items": 0,
        "stock without items": 0,
        "analytics events": 0,
        "views by day": 0,
        "service minutes": 1,
        "ended invitations": 0,
        "files for people": 2,
        "entries of the journal of erasures": 1,
        "Prefect runs": 0,
    }
    assert names_below(tmp_path) == ["a", "erasures", "new.json", "runs", "year-old.json"]
    assert count_logs(demo) == {"registry.archived": 5, "customers/redact": 3}
    assert demo.execute("SELECT count(*) FROM service_minutes").fetchone() == (1,)


async def test_dry_run_counts_expired_logs_and_deletes_nothing(demo: Demo) -> None:
    before = count_logs(demo)
    state = await cleanup_logs(audit_days=28, dry_run=True, return_state=True)
    assert state.message == "14 tables: 23 old, 23 left."
    assert count_logs(demo) == before


async def test_failure_of_one_table_fails_the_run_and_does_not_stop_the_others(demo: Demo) -> None:
    demo.execute("ALTER TABLE webhook_events RENAME TO hidden")
    try:
        state = await cleanup_logs(return_state=True)
    finally:
        demo.execute("ALTER TABLE hidden RENAME TO webhook_events")
    assert state.is_failed()
    assert "handled webhook events (Programming error" in str(state.message)
    rows = await rows_of(state)
    assert rows["audit logs"]["deleted"] == 12
    assert rows["handled webhook events"]["problem"] != "none"


async def test_expired_sessions_are_deleted_from_both_stores(demo: Demo, resources: Resources) -> None:
    now = datetime.now(UTC)
    for name, expires_at in (("old", now - timedelta(hours=1)), ("live", now + timedelta(hours=1))):
        demo.execute(
            "INSERT INTO sessions (id, shop_id, kind, subject, expires_at) VALUES (%s, 1, 'guest_grant', 's', %s)",
            [name, expires_at],
        )
        await resources.sessions.put(SessionName(1, name), "s", now + timedelta(hours=1))
    shops = demo.execute("SELECT * FROM shops ORDER BY id").fetchall()
    state = await cleanup_sessions(return_state=True)
    assert state.message == "5 tables: 2 old, 2 deleted."
    assert demo.execute("SELECT id FROM sessions").fetchall() == [("live",)]
    assert await resources.sessions.get(SessionName(1, "live")) == "s"
    assert await resources.sessions.get(SessionName(1, "old")) is None
    assert demo.execute("SELECT * FROM shops ORDER BY id").fetchall() == shops


async def test_stopping_run_deletes_nothing_more(demo: Demo) -> None:
    @flow
    async def stopping() -> list[WorkResult]:
        async with get_client() as client:
            await client.set_flow_run_state(UUID(flow_run.id), Running(name=STOPPING), force=True)
        now = datetime.now(UTC)
        bounds = Bounds(5, now + timedelta(minutes=1))
        state = await delete_expired([DataKind.AUDIT], before={DataKind.AUDIT: now}, bounds=bounds)
        return await state.aresult()

    before = count_logs(demo)
    assert await stopping() == [WorkResult(DataKind.AUDIT, stopped=True)]
    assert count_logs(demo) == before


@pytest.mark.parametrize(
    "wrong", [{"audit_days": 0}, {"compliance_days": 364}, {"batch_rows": 0}, {"batch_rows": 50_001}, {"minutes": 51}]
)
async def test_parameters_out_of_bounds_are_refused(wrong: dict[str, Any], demo: Demo) -> None:
    before = count_logs(demo)
    state = await cleanup_logs(**wrong, return_state=True)
    assert state.name == "Refused"
    assert next(iter(wrong)) in str(state.message)
    assert count_logs(demo) == before


@pytest.mark.parametrize("job", [cleanup_logs, cleanup_sessions], ids=lambda job: job.name)
def test_form_has_limits_and_the_deployed_defaults(job: Any) -> None:
    form = parameter_schema(job).properties
    numbers = {name: field for name, field in form.items() if field["type"] == "integer"}
    assert all(field["minimum"] >= 1 and field["maximum"] for field in numbers.values())
    assert {name: field["default"] for name, field in form.items()} == DEPLOYMENTS[job.name]["parameters"]
