"""How often an invitation is tried, what counts for the limits, and which refusals are judged."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from deployments.sandbox.processes import ROOT
from tests.support.aliases import Demo
from tests.support.invitations import invite
from wishcraft.domain.invitations import LIFETIME, TRIED_FOR, TRIES, InvitationAnswer
from wishcraft.domain.mail_references import MailKind
from wishcraft.errors import TooManyAddressesRefused
from wishcraft.resources import Resources
from wishcraft.services.invitations.send import invite_shop
from wishcraft.services.mail.reputation import judge_refusals
from wishcraft.services.mail.send import MOST_FAILED
from wishcraft.settings import Settings
from wishcraft.store import invitations
from wishcraft.store.shops import ShopRef

NOW = datetime.now(UTC)
HUGO, EMMA = "hugo@example.com", "emma@example.com"


@pytest.fixture(autouse=True)
def _no_invitations(demo: Demo) -> None:
    """The shop's registries are active, their events far ahead, and there is no invitation yet."""
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET status = 'active', event_date = %s", [NOW.date() + timedelta(60)])


def state_of(demo: Demo, recipient: str) -> tuple[Any, ...]:
    [found] = demo.execute("SELECT state, attempts FROM invitations WHERE recipient = %s", [recipient]).fetchall()
    return found


async def test_a_mail_that_is_never_answered_is_sent_three_times_at_most(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DROP))  # the server has each mail, and its replies are lost
    counts = [await invite_shop(resources, settings, shop, now=NOW) for _ in range(TRIES + 2)]
    assert [(each["postponed"], each["failed"]) for each in counts] == [(1, 0)] * TRIES + [(0, 1), (0, 0)]
    assert [each["due"] for each in counts] == [1] * (TRIES + 1) + [0]
    assert len(mailbox.messages) == TRIES
    assert state_of(demo, HUGO) == ("failed", TRIES)


async def test_a_mail_that_an_event_shows_as_delivered_is_not_sent_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    assert (await invite_shop(resources, settings, shop, now=NOW))["postponed"] == 1
    demo.execute("UPDATE invitations SET outcome = 'delivered', outcome_at = now()")
    assert (await invite_shop(resources, settings, shop, now=NOW))["due"] == 0
    assert state_of(demo, HUGO) == ("sent", 1)
    assert len(mailbox.messages) == 1


async def test_an_answered_invitation_is_held_no_more(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    assert (await invite_shop(resources, holding, shop, now=NOW))["held"] == 1
    demo.execute("UPDATE invitations SET answer = 'confirmed', expires_at = NULL")
    assert (await invite_shop(resources, holding, shop, now=NOW))["held"] == 0
    assert demo.execute("SELECT state, expires_at FROM invitations").fetchall() == [("sent", None)]


async def test_a_link_works_for_two_weeks_after_a_mail_that_the_server_had_put_off(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DEFER, remaining=1))
    await invite_shop(resources, settings, shop, now=NOW)
    demo.execute("UPDATE invitations SET expires_at = expires_at - interval '3 days', claimed_at = NULL")
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 1
    assert demo.execute("SELECT expires_at - claimed_at FROM invitations").fetchall() == [(LIFETIME,)]


async def test_a_mail_that_the_server_puts_off_is_given_up_after_four_days(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DEFER))
    for _ in range(TRIES + 2):
        assert (await invite_shop(resources, settings, shop, now=NOW))["postponed"] == 1
    assert state_of(demo, HUGO) == ("pending", 0)
    demo.execute("UPDATE invitations SET expires_at = expires_at - %s", [TRIED_FOR])
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["postponed"], counts["failed"]) == (0, 1)
    assert state_of(demo, HUGO) == ("failed", 0)


async def test_invitation_keeps_the_time_of_its_failure_when_it_is_answered_or_ends(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    registry, failed_at = invite(demo, HUGO), NOW - timedelta(days=2)
    demo.execute("UPDATE registries SET co_registrants = '[]' WHERE id = %s", [registry])
    values = ("failed", failed_at, NOW + timedelta(days=5))
    found = demo.execute("UPDATE invitations SET state = %s, updated_at = %s, expires_at = %s RETURNING id", values)
    [(number,)] = found.fetchall()
    async with resources.db.transaction() as session:
        assert await invitations.answer(session, shop.id, number, InvitationAnswer.CONFIRMED)
    for people in ("[]", '[{"first_name": "Hugo", "email": "hugo@example.com"}]'):
        demo.execute("UPDATE registries SET co_registrants = %s WHERE id = %s", [people, registry])
        async with resources.db.transaction() as session:
            await invitations.invite(session, shop.id, registry, vouched=True)
        changed = demo.execute("SELECT removed_at IS NULL, updated_at FROM invitations WHERE id = %s", [number])
        assert changed.fetchone() == (people != "[]", failed_at)


async def test_invitations_that_are_given_up_do_not_stop_a_run(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, *(f"p{number}@example.com" for number in range(MOST_FAILED)))
    mailbox.faults.set(Fault(FaultKind.DEFER))
    await invite_shop(resources, settings, shop, now=NOW)
    demo.execute("UPDATE invitations SET expires_at = expires_at - %s", [TRIED_FOR])
    invite(demo, HUGO)
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["failed"], counts["given_up"], counts["postponed"]) == (MOST_FAILED, MOST_FAILED, 1)


@pytest.mark.parametrize(("fault", "sent"), [(FaultKind.DROP, 0), (FaultKind.DEFER, 1)])
async def test_a_mail_counts_for_the_limits_if_it_may_have_arrived(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox, fault: FaultKind, sent: int
) -> None:
    limited = settings.model_copy(update={"invitations_per_shop": 1})
    invite(demo, HUGO)
    mailbox.faults.set(Fault(fault, remaining=1))
    await invite_shop(resources, limited, shop, now=NOW)
    invite(demo, EMMA)
    assert (await invite_shop(resources, limited, shop, now=NOW))["sent"] == sent
    assert state_of(demo, EMMA)[0] == ("sent" if sent else "pending")


async def test_a_link_that_may_be_out_works_on_after_a_suppression(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    await invite_shop(resources, settings, shop, now=NOW)
    [before] = demo.execute("SELECT token_hash, claimed_at, expires_at FROM invitations").fetchall()
    demo.execute(
        """INSERT INTO email_suppressions
           SELECT shop_id, sha256(convert_to(shop_id || ':' || recipient, 'UTF8')), 'complaint' FROM invitations"""
    )
    assert (await invite_shop(resources, settings, shop, now=NOW))["suppressed"] == 1
    assert demo.execute("SELECT token_hash, claimed_at, expires_at FROM invitations").fetchall() == [before]
    assert before[0]


async def test_answers_do_not_count_as_mails_that_were_accepted(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, *(f"accepted{number}@example.com" for number in range(8)))
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 8
    sent = [each for (each,) in demo.execute("SELECT id FROM invitations")]
    invite(demo, *(f"refused{number}@example.com" for number in range(5)))
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    began = datetime.now(UTC)
    assert (await invite_shop(resources, settings, shop, now=NOW))["refused"] == 5
    async with resources.db.transaction() as session:
        assert all([await invitations.answer(session, shop.id, each, InvitationAnswer.CONFIRMED) for each in sent])
    with pytest.raises(TooManyAddressesRefused, match="5 of 5"):
        await judge_refusals(resources, MailKind.INVITATION, began)
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)


async def test_a_change_of_a_refused_invitation_does_not_get_its_address_suppressed(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    await invite_shop(resources, settings, shop, now=NOW)
    later = datetime.now(UTC)
    demo.execute("UPDATE invitations SET removed_at = now(), updated_at = now()")
    await judge_refusals(resources, MailKind.INVITATION, later)
    assert state_of(demo, HUGO)[0] == "pending"
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)


async def test_refused_mails_stay_due_however_often_the_server_refuses_most(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, *(f"p{number}@example.com" for number in range(5)))
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    for _ in range(TRIES + 1):
        began = datetime.now(UTC)
        assert (await invite_shop(resources, settings, shop, now=NOW))["refused"] == 5
        with pytest.raises(TooManyAddressesRefused):
            await judge_refusals(resources, MailKind.INVITATION, began)
    mailbox.faults.clear()
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 5


@pytest.mark.parametrize(("state", "repaired"), [("failed", True), ("suppressed", False)])
async def test_runbooks_command_lets_failed_invitations_be_sent_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, state: str, *, repaired: bool
) -> None:
    invite(demo, HUGO)
    demo.execute(
        """UPDATE invitations SET attempts = %s, state = %s, last_error = 'the mail server refuses the mail: 550 5.7.1',
           claimed_at = now(), expires_at = now() + interval '1 day'""",
        [TRIES, state],
    )
    [statement] = re.findall(r'"(UPDATE invitations SET [^"]+)"', (ROOT / "docs/runbooks/mail.md").read_text())
    demo.execute(statement.encode())
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == repaired
