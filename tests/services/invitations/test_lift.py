"""A lift of a suppression while invitations to the address are claimed or answered."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.invitations import invite, link_in
from tests.support.waiting import WAITING, wait_until
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.invitations import InvitationAnswer
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.resources import Resources
from wishcraft.services.invitations.answer import answer_invitation
from wishcraft.services.invitations.send import invite_shop
from wishcraft.services.mail.suppressions import lift_suppressions
from wishcraft.settings import Settings
from wishcraft.store import invitations, suppressions
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.shops import ShopRef

NOW: Final = datetime.now(UTC)
HUGO: Final = "hugo@example.com"
HASH: Final = address_hash(1, HUGO)


def invite_hugo(demo: Demo) -> int:
    """Write the one invitation of the shop; its id."""
    demo.execute("DELETE FROM invitations; DELETE FROM email_suppressions")
    demo.execute("UPDATE registries SET status = 'active', event_date = %s", [NOW.date() + timedelta(60)])
    invite(demo, HUGO)
    [[row_id]] = demo.execute("SELECT id FROM invitations").fetchall()
    return int(row_id)


async def start(demo: Demo, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start the work; it waits for a lock now, or is done."""
    task = asyncio.create_task(work)
    await wait_until(lambda: task.done() or demo.execute(WAITING).fetchone() != (0,))
    return task


async def test_lift_beside_a_claim_lets_the_invitation_be_sent(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    row_id = invite_hugo(demo)
    async with resources.db.transaction() as session:
        await suppressions.suppress(session, shop.id, HASH, SuppressionReason.UNSUBSCRIBE)
    async with resources.db.transaction() as session:
        await suppressions.serialise_claims(session, shop.id)
        assert await invitations.lock_waiting(session, shop.id, NOW.date(), [row_id])
        [claimed] = await invitations.claim_batch(session, shop.id, {row_id: b"hash"})
        assert claimed.suppressed
        lift = await start(demo, lift_suppressions(resources, Actor(shop.id, "test"), [HASH]))
    assert await lift == 1
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 1


async def test_confirmation_and_lift_at_once_do_not_wait_for_each_other(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    """While it waits for the lock of a lift, a confirmation has not locked the invitation that the lift changes."""
    row_id = invite_hugo(demo)
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))  # the mail has arrived, and waits to be sent again
    await invite_shop(resources, settings, shop, now=NOW)
    token = link_in(mailbox.messages[0]).rpartition("/")[2]
    async with resources.db.transaction() as session:
        await suppressions.suppress(session, shop.id, HASH, SuppressionReason.BOUNCE)
    assert (await invite_shop(resources, settings, shop, now=NOW))["suppressed"] == 1
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as lifting:
        lifting.execute("INSERT INTO locks (name) VALUES (%s)", [f"invite:{shop.id}"])
        confirmation = await start(demo, answer_invitation(resources, token, InvitationAnswer.CONFIRMED, Origin()))
        assert not confirmation.done()
        lifting.execute("SELECT FROM invitations WHERE id = %s FOR UPDATE NOWAIT", [row_id])
        lifting.rollback()
    await confirmation
    assert demo.execute("SELECT answer FROM invitations").fetchall() == [("confirmed",)]
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)


async def test_outcome_of_before_a_lift_says_nothing_of_the_next_mail(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite_hugo(demo)
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    await invite_shop(resources, settings, shop, now=NOW)
    async with resources.db.transaction() as session:
        await suppressions.suppress(session, shop.id, HASH, SuppressionReason.BOUNCE)
    assert (await invite_shop(resources, settings, shop, now=NOW))["suppressed"] == 1
    demo.execute("UPDATE invitations SET outcome = 'bounced', outcome_at = now()")
    assert await lift_suppressions(resources, Actor(shop.id, "test"), [HASH]) == 1
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    assert (await invite_shop(resources, settings, shop, now=NOW))["postponed"] == 1
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 1
