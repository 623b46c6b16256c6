"""`send-invitations` as a run in Prefect, against a real mail server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from flows.cleanup_logs import cleanup_logs
from flows.send_invitations import send_invitations
from tests.support.aliases import Demo
from tests.support.invitations import invite
from tests.support.prefect_artifacts import logs_of, summary_of, table_of
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")


@pytest.fixture
def demo(demo: Demo) -> Demo:
    """The demo shops with two invitations in each that wait."""
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET status = 'active', event_date = %s", [datetime.now(UTC).date() + timedelta(60)])
    for shop_id in (1, 2, 3):
        invite(demo, "emma@example.com", "hugo@example.com", shop_id=shop_id)
    return demo


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


async def test_dry_run_counts_and_the_next_run_sends_each_invitation_once(demo: Demo, mailbox: Mailbox) -> None:
    dry: Any = await (await send_invitations(dry_run=True, return_state=True)).aresult()
    assert (dry, len(mailbox.messages)) == ({"due": 6, "waiting": 0}, 0)
    for sent in (6, 0):
        state = await send_invitations(return_state=True)
        assert state.is_completed(), state.message
        counts: Any = await state.aresult()
        assert counts["sent"] == sent
        seen = [await logs_of(state), json.dumps(await table_of(state)), await summary_of(state), str(state.message)]
        assert "example.com" not in "".join(seen)
    assert len(mailbox.messages) == 6
    assert demo.execute("SELECT DISTINCT state FROM invitations").fetchall() == [("sent",)]


async def test_run_fails_with_advice_if_most_recipients_are_refused(demo: Demo, mailbox: Mailbox) -> None:
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    state = await send_invitations(return_state=True)
    assert state.is_failed()
    assert "Too many addresses refused: the mail server says that 6 of 6" in str(state.message)
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)
    mailbox.faults.clear()
    assert (await send_invitations(return_state=True)).is_completed()
    assert len(mailbox.messages) == 6


async def test_cleanup_deletes_ended_invitations_and_keeps_answers(demo: Demo) -> None:
    demo.execute("UPDATE invitations SET expires_at = now() - interval '31 days' WHERE recipient ^@ 'emma'")
    demo.execute("UPDATE invitations SET expires_at = now() - interval '29 days' WHERE shop_id = 1")
    demo.execute("UPDATE invitations SET answer = 'declined', removed_at = now() WHERE shop_id = 2")
    demo.execute("UPDATE invitations SET expires_at = NULL WHERE shop_id = 2")
    state = await cleanup_logs(invitation_days=30, return_state=True)
    assert state.is_completed(), state.message
    left = demo.execute("SELECT shop_id, recipient FROM invitations ORDER BY 1, 2").fetchall()
    assert left == [
        (1, "emma@example.com"), (1, "hugo@example.com"), (2, "emma@example.com"), (2, "hugo@example.com"),
        (3, "hugo@example.com"),
    ]  # fmt: skip
