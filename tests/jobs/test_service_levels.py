"""`service-levels` as a run in Prefect, with its runs' history and a real mail server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import State, flow, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from flows.service_levels import service_levels
from tasks.service_levels import count_runs
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import logs_of, summary_of, table_of
from tests.support.prefect_history import delete_all_runs
from wishcraft.domain.service_levels import DAYS, Count
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
DAILY = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *"), active=False)
NOT_MAILED = "The report could not be mailed to OPS_EMAIL, because "


@flow
async def deployed() -> None:
    """A flow that has a deployment."""


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail.model_copy(update={"ops_email": "ops@wishcraft.example"})


@pytest.fixture
async def no_history() -> None:
    await delete_all_runs()


@pytest.fixture
def minutes(demo: Demo) -> Iterator[None]:
    """Two hours of service minutes, of which six are missing."""
    demo.execute("TRUNCATE service_minutes")
    demo.execute(
        """INSERT INTO service_minutes
           SELECT date_trunc('minute', now()) - n * interval '1 minute', n NOT BETWEEN 50 AND 55, 10, 0,
               '{0,0,0,10,0,0,0,0,0,0,0,0,0}', 9, 0, 1, 0 FROM generate_series(1, 120) n"""
    )
    yield
    demo.execute("TRUNCATE service_minutes")


@pytest.mark.usefixtures("no_history")
async def test_only_ended_runs_of_scheduled_deployments_are_counted() -> None:
    end = datetime.now(UTC) + timedelta(minutes=1)
    states: list[State[Any]] = [
        Completed(),
        Completed(),
        Failed(),
        Failed(name="TimedOut"),
        Crashed(),
        Cancelled(),
        Running(),
    ]
    async with get_client() as client:
        flow_id = await client.create_flow(deployed)
        deployment = await client.create_deployment(flow_id, "deployed", schedules=[DAILY])
        question = await client.create_deployment(flow_id, "question")
        for state in states:
            run = await client.create_flow_run_from_deployment(deployment)
            await client.set_flow_run_state(run.id, state, force=True)
        await client.create_flow_run(deployed, state=Failed())
        asked = await client.create_flow_run_from_deployment(question)
        await client.set_flow_run_state(asked.id, Failed(), force=True)
    counted = await count_runs.fn(end)
    assert counted[0] == Count(5, 3)
    assert len(counted) == DAYS
    assert sum(each.all for each in counted.values()) == 5


@pytest.mark.usefixtures("no_history")
async def test_run_counts_for_the_day_on_which_it_ended_not_the_day_it_was_due() -> None:
    end = datetime.now(UTC) + timedelta(minutes=1)
    async with get_client() as client:
        deployment = await client.create_deployment(await client.create_flow(deployed), "deployed", schedules=[DAILY])
        due_before: State[Any] = Scheduled(scheduled_time=end - timedelta(hours=25))
        run = await client.create_flow_run_from_deployment(deployment, state=due_before)
        await client.set_flow_run_state(run.id, Failed(), force=True)
    counted = await count_runs.fn(end)
    assert (counted[0], counted[1]) == (Count(1, 1), Count())


@pytest.mark.usefixtures("no_history", "minutes")
async def test_missed_objective_is_reported_and_mailed_and_the_run_completes(mailbox: Mailbox) -> None:
    state = await service_levels(mail=True, return_state=True)
    assert state.is_completed(), state.message
    assert str(state.message).startswith("Too early to judge: ")
    assert " of 30 days are known. Missed so far: uptime (9" in str(state.message)
    assert "No data: job success, mail success, mail complaints, webhooks." in str(state.message)
    page = await summary_of(state)
    assert page.startswith(f"**{state.message}**")
    assert "](data:image/png;base64," in page
    rows = {(row["objective"], row["period"]): row for row in await table_of(state)}
    assert len(rows) == 24
    assert rows["uptime > 99.9 %", "1 day"]["value"].startswith("9")
    assert rows["uptime > 99.9 %", "1 day"]["bad"].startswith("6 of 11")
    assert rows["cache hit ratio > 80 %", "1 day"]["value"] == "90.00 %"
    [received] = mailbox.messages
    assert received.recipients == ["ops@wishcraft.example"]
    assert str(state.message)[:150] in str(received.parsed["Subject"])
    assert [part.get_content_type() for part in received.parsed.walk()].count("image/png") == 1


async def test_report_without_a_recipient_is_published_with_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    monkeypatch.delenv("OPS_EMAIL")
    state = await service_levels(mail=True, return_state=True)
    assert state.is_completed()
    assert f"{NOT_MAILED}OPS_EMAIL, MAIL_URL and MAIL_FROM must be set" in str(state.message)
    assert await summary_of(state)
    assert not mailbox.messages


@pytest.mark.usefixtures("no_history", "minutes", "settings")
async def test_report_that_the_mail_server_refuses_is_published_with_a_warning(
    mailbox: Mailbox,
) -> None:
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    state = await service_levels(mail=True, return_state=True)
    assert state.is_completed()
    found, _, warning = str(state.message).partition(f" {NOT_MAILED}")
    assert "Missed so far: uptime (9" in found
    assert warning.startswith(
        "the mail server refuses the address: 550 5.1.1. Check OPS_EMAIL, MAIL_URL, MAIL_FROM and the mail server"
    )
    assert (await summary_of(state)).startswith(f"**{found}**")
    assert await logs_of(state, f"\n{NOT_MAILED}{warning}")
