"""`send-reminders` as a run in Prefect, against a real mail server."""

import json
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Self

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from flows.send_reminders import send_reminders
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import logs_of, summary_of, table_of, tasks_of
from wishcraft.reports.page import short_name
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP = "maple-and-pine.myshopify.com"
OTHER = "lumiere-maison.myshopify.com"
TODAY = datetime.now(UTC).date()


@pytest.fixture
def demo(demo: Demo) -> Demo:
    """The demo shops with their event dates moved to around today: past events get no reminder."""
    demo.execute("UPDATE registries SET event_date = event_date + (%s - %s)", [TODAY, date(2026, 3, 14)])
    return demo


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


def reminded(demo: Demo) -> int:
    found = demo.execute("SELECT count(*) FROM reminders WHERE state = 'sent'").fetchone()
    assert found
    return int(found[0])


async def test_second_run_sends_no_reminder_again(demo: Demo, mailbox: Mailbox) -> None:
    state = await send_reminders(today=TODAY, return_state=True)
    assert state.is_completed(), state.message
    counts: Any = await state.aresult()
    assert counts["due"] == counts["sent"] == len(mailbox.messages) == reminded(demo) >= 6
    assert {row["shop"] for row in await table_of(state) if row["sent"]} >= {short_name(SHOP), short_name(OTHER)}
    assert "- **registries with due reminders:** " in await summary_of(state)
    again: Any = await (await send_reminders(today=TODAY, return_state=True)).aresult()
    assert again["due"] == 0


async def test_dry_run_logs_the_registries_and_sends_nothing(demo: Demo, mailbox: Mailbox) -> None:
    state = await send_reminders([SHOP], dry_run=True, today=TODAY, return_state=True)
    counts: Any = await state.aresult()
    assert counts["due"] > 0
    assert not mailbox.messages
    assert demo.execute("SELECT count(*) FROM reminders").fetchone() == (0,)
    [slug] = demo.execute("SELECT slug FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1").fetchall()
    assert await logs_of(state, f"{SHOP} {slug[0]}: ")


async def test_no_address_is_in_logs_artifacts_or_messages(demo: Demo, mailbox: Mailbox) -> None:
    for kind in FaultKind:
        if kind is not FaultKind.HANG:  # it takes half a minute
            mailbox.faults.set(Fault(kind, remaining=1))
    for dry_run in (True, False):
        state = await send_reminders(dry_run=dry_run, today=TODAY, return_state=True)
        logs, table = await logs_of(state, "Finished in state"), json.dumps(await table_of(state))
        seen = [logs, table, await summary_of(state), str(state.message)]
        assert "example.com" not in "".join(seen)
    addresses = demo.execute("SELECT customer_email FROM registries").fetchall()
    assert all(address.endswith("example.com") for (address,) in addresses)


async def test_task_is_retried_if_the_mail_server_is_down_for_a_moment(demo: Demo, mailbox: Mailbox) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE domain <> %s", [SHOP])
    mailbox.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=1))
    state = await send_reminders(today=TODAY, return_state=True)
    assert state.is_completed(), state.message
    counts: Any = await state.aresult()
    assert counts["due"] == counts["sent"] == len(mailbox.messages) == reminded(demo) > 0
    assert [run.run_count for run in await tasks_of(state, "remind")] == [2]


async def test_shop_with_an_unknown_time_zone_fails_by_name_and_others_are_reminded(
    demo: Demo, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE shops SET timezone = 'Mars/Olympus' WHERE domain = %s", [SHOP])
    state = await send_reminders(return_state=True)
    assert state.is_failed()
    assert SHOP in str(state.message)
    assert "Mars/Olympus" in str(state.message)
    assert len(mailbox.messages) == reminded(demo) > 0


async def test_run_fails_with_advice_if_most_recipients_are_refused(demo: Demo, mailbox: Mailbox) -> None:
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    state = await send_reminders(today=TODAY, return_state=True)
    assert state.is_failed()
    assert "Too many addresses refused: the mail server says that" in str(state.message)
    assert "No address was suppressed, and the mails stay due." in await summary_of(state)
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)
    mailbox.faults.clear()
    again = await send_reminders(today=TODAY, return_state=True)
    assert again.is_completed(), again.message
    assert len(mailbox.messages) == reminded(demo) >= 6


async def test_run_says_in_words_that_a_mail_was_postponed_and_why(demo: Demo, mailbox: Mailbox) -> None:
    mailbox.faults.set(Fault(FaultKind.DEFER, remaining=1))
    state = await send_reminders(today=TODAY, return_state=True)
    assert state.is_completed(), state.message
    assert "1 postponed (the next run tries them again)" in str(state.message)
    summary = await summary_of(state)
    assert "1 postponed (the next run tries them again)" in summary
    assert "- **why mails were postponed:** " in summary


class Ahead(datetime):
    """The clock of a worker that is a minute ahead of PostgreSQL's."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """The time on it."""
        return super().now(tz) + timedelta(minutes=1)


async def test_single_refused_recipient_is_suppressed_at_the_end_of_the_run(
    demo: Demo, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.send_reminders.datetime", Ahead, raising=False)
    mailbox.faults.set(Fault(FaultKind.REFUSE, remaining=1))
    state = await send_reminders(today=TODAY, return_state=True)
    assert state.is_completed(), state.message
    assert sum(int(row["refused"]) for row in await table_of(state)) == 1
    assert demo.execute("SELECT reason FROM email_suppressions").fetchall() == [("bounce",)]
