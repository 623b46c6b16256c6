import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import yaml
from prefect import State, get_client
from prefect.client.schemas.filters import FlowRunFilter

from deployments.sandbox.mailbox.messages import Mailbox
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from flows.ask import ask
from flows.backfill import JOBS, backfill
from flows.conversion_report import conversion_report
from flows.demand_forecast import demand_forecast
from flows.export_data import export_data
from flows.registry_report import registry_report
from tasks.runtime.ui_links import run_form
from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from tests.support.prefect_artifacts import artifacts_of, summary_of
from wishcraft.domain.registries import EventType
from wishcraft.files import folder_of
from wishcraft.reports import conversion_report as conversion_page
from wishcraft.reports import notebook
from wishcraft.reports.markdown import keep_figures_together
from wishcraft.reports.page import format_bytes
from wishcraft.reports.plots import TimeSeries
from wishcraft.settings import Settings, time_zone

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
Exports = Callable[[], list[Path]]
PUBLIC_URL = "https://registry.example"
MAPLE, SAKURA = "maple-and-pine.myshopify.com", "sakura-living.myshopify.com"


@pytest.fixture
def settings(settings_with_mail: Settings, tmp_path: Path) -> Settings:
    changes = {"files_url": (tmp_path / "files").as_uri(), "public_url": PUBLIC_URL}
    return settings_with_mail.model_copy(update=changes)


@pytest.fixture
def exports(settings: Settings) -> Exports:
    """The files of all runs."""
    return lambda: list(folder_of(settings.files_url).glob("runs/*/*"))


def url_of(file: Path) -> str:
    return f"{PUBLIC_URL}/files/{file.parent.name}/{file.name}"


async def keys_of_artifacts(state: State[Any], kind: str) -> set[str | None]:
    return {artifact.key for artifact in await artifacts_of(state, kind)}


async def names_of_subflow_runs(state: State[Any]) -> set[str]:
    query = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [state.state_details.flow_run_id]}})
    async with get_client() as client:
        return {run.name for run in await client.read_flow_runs(flow_run_filter=query)}


async def test_report_publishes_a_page_with_plot_its_tables_and_a_self_contained_file(exports: Exports) -> None:
    state = await registry_report([MAPLE], return_state=True)
    assert state.is_completed()
    assert "4 registries" in str(state.message)
    page = await summary_of(state)
    assert "](data:image/png;base64," in page
    assert "## What sells" in page
    assert f"*Registries created on any day; {MAPLE}; all event types.*" in page
    assert await keys_of_artifacts(state, "table") == {
        "registry-report",
        *(f"registry-report-{part}" for part in ("products", "never-bought", "price-bands", "cohorts")),
    }
    [file] = exports()
    assert file.parent.name == str(state.state_details.flow_run_id)
    assert f"[open the page]({url_of(file)}?show=true) · [save it]({url_of(file)})" in page
    assert str(state.message).endswith(f" The file: {url_of(file)}")
    html = file.read_text()
    assert "data:image/png;base64," in html
    assert "What sells" in html


async def test_conversion_and_demand_reports_publish_their_page_tables_and_file(exports: Exports) -> None:
    conversion = await conversion_report(weeks=4, file="parquet", return_state=True)
    assert "## What reminders do" in await summary_of(conversion)
    assert await keys_of_artifacts(conversion, "table") == {"conversion-report-funnel", "conversion-report-reminders"}
    demand = await demand_forecast(event_types=[EventType.WEDDING], file="csv", return_state=True)
    assert await keys_of_artifacts(demand, "table") == {"demand-forecast"}
    for today in (date(2026, 3, 13), date(2026, 3, 14)):
        past = await conversion_report(["sakura-living.myshopify.com"], weeks=2, today=today, return_state=True)
        assert f"*What guests did from 2026-03-02 to {today}; sakura-living" in await summary_of(past)
    assert sorted(file.name[:28] for file in exports() if file.suffix == ".html") == [
        "conversion-report-2026-03-13", "conversion-report-2026-03-14",
    ]  # fmt: skip
    by_suffix = {file.suffix: file for file in exports()}
    pd.testing.assert_frame_equal(pd.read_parquet(by_suffix[".parquet"]), notebook.conversion_report(weeks=4))
    assert len(pd.read_csv(by_suffix[".csv"])) == len(notebook.demand_forecast(event_types=["wedding"]))


async def test_past_week_that_ends_with_the_report_is_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    by_week, open_weeks = conversion_page._by_week, list[date]()

    def draw(weeks: pd.DataFrame, open_week: date) -> TimeSeries:
        open_weeks.append(open_week)
        return by_week(weeks, open_week)

    monkeypatch.setattr(conversion_page, "_by_week", draw)
    await conversion_report(weeks=2, today=date(2026, 3, 15), file="none", return_state=True)  # a Sunday
    assert open_weeks == [date(2026, 3, 16)]


async def test_export_states_rows_columns_and_size_and_shows_the_first_rows(exports: Exports) -> None:
    state = await export_data("purchases", [MAPLE], file="csv", return_state=True)
    [file] = exports()
    rows = pd.read_csv(file)
    assert str(state.message) == f"{len(rows)} rows of purchases. The file: {url_of(file)}"
    page = await summary_of(state)
    size = keep_figures_together(format_bytes(file.stat().st_size))
    assert f"{size}, {len(rows)} rows of {len(rows.columns)} columns" in page
    assert "| unit_price | float64 | " in page


async def test_sql_question_is_answered_and_an_invalid_one_ends_the_run_as_refused(
    demo: Demo, exports: Exports
) -> None:
    [expected] = demo.execute("SELECT count(*) FROM registry_items").fetchone() or ()
    state = await ask("SELECT shop_id::text, count(*) AS items FROM items GROUP BY 1", file="csv", return_state=True)
    assert state.is_completed()
    assert "](data:image/png;base64," in await summary_of(state)
    [file] = exports()
    assert pd.read_csv(file)["items"].sum() == expected
    refused = await ask("SELECT customer_email FROM registries", return_state=True)
    assert refused.is_cancelled()
    assert refused.name == "Refused"
    assert 'line 1: column "customer_email" does not exist' in str(refused.message)
    unknown = await registry_report(["nowhere.example"], return_state=True)
    assert (unknown.name, "nowhere.example" in str(unknown.message)) == ("Refused", True)
    backwards = await registry_report(first_day=date(2026, 3, 2), last_day=date(2026, 3, 1), return_state=True)
    assert (backwards.name, "is after the last" in str(backwards.message)) == ("Refused", True)


@pytest.mark.parametrize("day", [date.min, date.max])
async def test_day_at_the_end_of_the_calendar_is_refused_by_every_report(day: date) -> None:
    for state in (
        await registry_report(last_day=day, return_state=True),
        await conversion_report(today=day, return_state=True),
        await demand_forecast(today=day, return_state=True),
        await export_data("items", first_day=day, return_state=True),
    ):
        assert (state.name, "is out of range" in str(state.message)) == ("Refused", True)


async def test_report_without_registries_says_so() -> None:
    never = date(2001, 1, 1)
    for state in (
        await registry_report(first_day=never, last_day=never, return_state=True),
        await conversion_report(today=never, return_state=True),
        await demand_forecast(today=never, return_state=True),
    ):
        assert state.is_completed()
        assert str(state.message).startswith(("There is no", "No visit", "Nothing is wished for"))


@pytest.fixture
def due_days(demo: Demo) -> Iterator[list[date]]:
    """Three days; on each, one registry of the first shop is due a reminder a week before its event."""
    today = datetime.now(time_zone()).date()
    days = [today - timedelta(days=ago) for ago in (3, 2, 1)]
    demo.execute("UPDATE registries SET event_date = NULL")
    for day, (registry,) in zip(
        days, demo.execute("SELECT id FROM registries WHERE shop_id = 1 ORDER BY id"), strict=False
    ):
        demo.execute(
            "UPDATE registries SET event_date = %s, status = 'active', co_registrants = '[]' WHERE id = %s",
            [day + timedelta(days=7), registry],
        )
    confirm_everyone(demo)
    yield days
    demo.execute("DELETE FROM reminders")


async def test_backfill_dry_run_sends_nothing_and_a_second_backfill_resumes(
    due_days: list[date], mailbox: Mailbox
) -> None:
    dry = await backfill("send-reminders", due_days[0], due_days[-1], [MAPLE], return_state=True)
    assert "3 dry runs" in str(dry.message)
    names = {name.rpartition(" · ")[0] for name in await names_of_subflow_runs(dry)}
    assert names == {f"send-reminders · maple-and-pine · {day} · dry run" for day in due_days}
    assert not mailbox.messages
    first = await backfill("send-reminders", due_days[0], due_days[0], [MAPLE], dry_run=False, return_state=True)
    assert first.is_completed()
    assert len(mailbox.messages) == 1
    rest = await backfill("send-reminders", due_days[0], due_days[-1], [MAPLE], dry_run=False, return_state=True)
    assert rest.is_completed()
    assert "1 done before" in str(rest.message)
    assert "2 runs" in str(rest.message)
    assert len(mailbox.messages) == 3


async def test_failed_backfill_step_is_named_and_run_again_by_the_next_backfill(
    simulator: Simulator,
) -> None:
    simulator.shops[MAPLE].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    state = await backfill("sync-inventory", shops=[MAPLE, SAKURA], dry_run=False, return_state=True)
    assert state.is_failed()
    assert MAPLE in str(state.message)
    assert "/v2/runs/flow-run/" in await summary_of(state)
    simulator.shops[MAPLE].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=0))
    again = await backfill("sync-inventory", shops=[MAPLE, SAKURA], dry_run=False, return_state=True)
    assert again.is_completed()
    assert "1 done before" in str(again.message)


async def test_backfill_by_shop_repeats_completed_steps_only_with_again() -> None:
    once = await backfill("cache-warm", shops=[MAPLE, SAKURA], force=True, dry_run=False, return_state=True)
    assert "2 runs" in str(once.message)
    twice = await backfill("cache-warm", shops=[MAPLE], force=True, dry_run=False, return_state=True)
    assert "1 done before" in str(twice.message)
    again = await backfill("cache-warm", shops=[MAPLE], force=True, dry_run=False, again=True, return_state=True)
    assert "1 step: 1 run, " in str(again.message)
    other = await backfill("cache-warm", shops=[MAPLE], return_state=True)
    assert "1 to run. This was a dry run. To run it in earnest, start `backfill` again" in str(other.message)


async def test_backfill_goes_on_after_a_shop_has_uninstalled_the_app(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    lumiere = "lumiere-maison.myshopify.com"

    async def find_tags(_: list[str]) -> set[str]:
        return set()

    async def lose_a_shop() -> bool:
        demo.execute("UPDATE shops SET status = 'uninstalled' WHERE domain = %s", [MAPLE])
        return False

    monkeypatch.setattr("flows.backfill.find_completed_tags", find_tags)
    monkeypatch.setattr("flows.backfill.is_run_stopping", lose_a_shop)
    state = await backfill("cache-warm", shops=[lumiere, MAPLE, SAKURA], dry_run=False, return_state=True)
    demo.execute("UPDATE shops SET status = 'active'")
    assert state.is_failed()
    assert str(state.message).startswith("3 steps: 2 runs,")
    assert MAPLE in str(state.message).partition("Failed:")[2]


async def test_backfill_with_invalid_days_is_refused_before_any_step_runs() -> None:
    today = datetime.now(time_zone()).date()
    state = await backfill("cache-warm", today, today, return_state=True)
    assert state.name == "Refused"
    assert "for no day" in str(state.message)
    unknown = await backfill("cache-warm", shops=[MAPLE], weeks=4, return_state=True)
    assert (unknown.name, "the job has no weeks; it has shops, force" in str(unknown.message)) == ("Refused", True)
    backwards = await backfill("send-reminders", today, today - timedelta(days=1), return_state=True)
    assert (backwards.name, "is after the last" in str(backwards.message)) == ("Refused", True)


def test_every_job_with_days_or_shops_can_be_backfilled() -> None:
    deployed = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    by = {each["name"] for each in deployed if {"shops", "today", "until"} & set(each["parameters"])}
    assert set(JOBS) == by - {"export-data", "backfill"}


def test_backfill_has_the_parameters_of_its_jobs_with_their_types_and_defaults() -> None:
    fields = backfill.parameters.properties
    for job in JOBS.values():
        for name, field in job.parameters.properties.items():
            assert name in {*fields, "today", "until"}, (job.name, name)
            if name in fields and name not in {"dry_run", "weeks"}:
                assert fields[name].get("default") == field.get("default"), (job.name, name)
    assert not [name for name, field in fields.items() if field.get("type") == "object"]


def test_form_of_a_run_is_filled_with_its_parameters() -> None:
    parameters = {"job": "cache-warm", "first_day": date(2026, 3, 1), "shops": ["a&b"], "dry_run": False}
    query = parse_qs(urlsplit(run_form("an-id", parameters)).query)
    assert json.loads(query["parameters"][0]) == parameters | {"first_day": "2026-03-01"}
