"""Mail events about a mail whose recipient's suppression was lifted."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from tests.support.aliases import Demo
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_events import TOPIC, MailEvent, MailEventKind
from wishcraft.domain.mail_references import MailKind, MailReference
from wishcraft.domain.unsubscribe import Subscription
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.mail.suppressions import lift_suppressions
from wishcraft.services.mail.unsubscribe import undo_unsubscribe
from wishcraft.services.mail_events.webhooks import handle_mail_events
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.shops import ShopRef

HASH: Final = address_hash(1, "jo@example.com")
COMPLAINED, UNSUBSCRIBED = MailEventKind.COMPLAINED, MailEventKind.UNSUBSCRIBED
Handle = Callable[[MailEventKind, datetime], Awaitable[bool]]


@pytest.fixture
def handle(resources: Resources, demo: Demo, shop: ShopRef) -> Handle:
    """Function that handles an event of one sent mail of Jo; whether it was not ignored."""
    demo.execute("DELETE FROM email_suppressions; DELETE FROM reminders; DELETE FROM audit_logs")
    [[row_id]] = demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at)
           SELECT shop_id, id, '7_days', '2026-12-24', 'jo@example.com', 'sent', now() FROM registries
           WHERE shop_id = 1 ORDER BY id LIMIT 1 RETURNING id"""
    ).fetchall()
    mail = MailReference(MailKind.REMINDER, shop.id, row_id)

    async def handle(kind: MailEventKind, at: datetime) -> bool:
        event = MailEvent(mail, kind, permanent=False, event_id="e", occurred_at=at)
        message = Message(1, TOPIC, at, datetime.now(UTC), event.to_json())
        effect = await handle_mail_events(resources, shop, [message])
        async with registry_write(resources, Actor(shop.id, "test"), on_cache_down="refuse") as write:
            outcomes = await effect.apply(write)
        return outcomes.get(1) is not WebhookOutcome.IGNORED

    return handle


def reasons(demo: Demo) -> list[str]:
    return [reason for (reason,) in demo.execute("SELECT reason FROM email_suppressions")]


@pytest.mark.parametrize(
    ("first", "again", "reason"),
    [
        (UNSUBSCRIBED, UNSUBSCRIBED, "unsubscribe"),
        (COMPLAINED, COMPLAINED, "complaint"),
        (COMPLAINED, UNSUBSCRIBED, "unsubscribe"),
    ],
)
async def test_request_about_the_same_mail_counts_again_after_a_lift(
    resources: Resources, demo: Demo, handle: Handle, first: MailEventKind, again: MailEventKind, reason: str
) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    assert await handle(first, before)
    assert not await handle(again, datetime.now(UTC))  # it is suppressed already
    assert await lift_suppressions(resources, Actor(1, "test"), [HASH]) == 1
    assert not await handle(again, before)  # the event of before the lift, delivered again
    assert reasons(demo) == []
    after = datetime.now(UTC)
    assert await handle(again, after)
    assert not await handle(again, after)
    assert reasons(demo) == [reason]
    assert demo.execute("SELECT outcome FROM reminders").fetchall() == [(first.value,)]


async def test_soft_bounces_of_before_a_lift_count_no_more(resources: Resources, demo: Demo, handle: Handle) -> None:
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, outcome, outcome_at)
           SELECT shop_id, id, '7_days', date '2026-11-24' + n, 'jo@example.com', 'sent', 'soft_bounced', now()
           FROM registries, generate_series(1, 2) n WHERE id = (SELECT min(id) FROM registries WHERE shop_id = 1)"""
    )
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'bounce')", [HASH])
    await undo_unsubscribe(resources, Subscription(1, HASH, "j…@example.com"), Origin())
    assert await handle(MailEventKind.BOUNCED, datetime.now(UTC))
    assert reasons(demo) == []


async def test_request_counts_again_after_the_recipient_had_subscribed_again(
    resources: Resources, demo: Demo, handle: Handle
) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    await handle(UNSUBSCRIBED, before)
    await undo_unsubscribe(resources, Subscription(1, HASH, "j…@example.com"), Origin())
    assert not await handle(UNSUBSCRIBED, before)
    assert reasons(demo) == []
    assert await handle(UNSUBSCRIBED, datetime.now(UTC))
    assert reasons(demo) == ["unsubscribe"]
