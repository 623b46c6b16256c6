"""Effects of mail events: outcomes, and suppressed addresses."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, Final

import pytest

from tests.support.aliases import Demo
from tests.support.counted_webhooks import MAPLE, receive
from tests.support.waiting import wait_until
from tests.support.webhooks import NOON
from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_events import MailEvent, MailEventKind
from wishcraft.domain.mail_references import MailKind, MailReference
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.mail_events.receive import store_events
from wishcraft.services.mail_events.webhooks import handle_mail_events
from wishcraft.services.registries.lifecycle import remove
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.dead_letters import decide, find_dead_letters
from wishcraft.services.webhooks.handler_protocol import Effect, Message, change_nothing
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.inbox import Inbox
from wishcraft.services.webhooks.process import process
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

JO: Final = "jo@example.com"
Helper = Callable[..., Any]
BOUNCED, DELIVERED, COMPLAINED = MailEventKind.BOUNCED, MailEventKind.DELIVERED, MailEventKind.COMPLAINED


@pytest.fixture(autouse=True)
def _no_events(demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events; DELETE FROM email_suppressions; DELETE FROM reminders")
    demo.execute("UPDATE invitations SET outcome = NULL")


@pytest.fixture
def sent(demo: Demo) -> Callable[..., MailReference]:
    """Function that stores a reminder that was sent."""
    days = iter(range(10_000))

    def store(recipient: str = JO, shop_id: int = 1) -> MailReference:
        [[row_id]] = demo.execute(
            """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at)
               SELECT shop_id, id, '7_days', date '2026-12-24' + %s, %s, 'sent', now() FROM registries
               WHERE shop_id = %s ORDER BY id LIMIT 1 RETURNING id""",
            [next(days), recipient, shop_id],
        ).fetchall()
        return MailReference(MailKind.REMINDER, shop_id, row_id)

    return store


@pytest.fixture
def handle(resources: Resources, demo: Demo) -> Helper:
    """Function that stores events, and lets them be handled; the counts by outcome."""
    inbox = Inbox(resources.db, WebhookQueue(resources.redis))
    numbers = iter(range(10_000))

    async def handle(*given: tuple[MailReference, MailEventKind, bool] | tuple[MailReference, MailEventKind]) -> Any:
        events = []
        for reference, kind, *permanent in given:
            number = next(numbers)
            at = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=number)
            events.append(MailEvent(reference, kind, bool(permanent and permanent[0]), f"e{number}", at))
        await store_events(resources.db, inbox, "ses", events)
        waiting = demo.execute(
            "SELECT shop_domain, array_agg(id) FROM webhook_events WHERE handled_at IS NULL GROUP BY 1"
        )
        counts: dict[Any, int] = {}
        for domain, ids in waiting.fetchall():
            counts |= await process(resources, HANDLERS, domain, ids)
        return counts

    return handle


def outcomes(demo: Demo) -> list[str | None]:
    return [outcome for (outcome,) in demo.execute("SELECT outcome FROM reminders ORDER BY id")]


def suppressed(demo: Demo) -> set[tuple[int, str]]:
    """Shop and reason of each suppression; all are of Jo."""
    rows = demo.execute("SELECT shop_id, reason, address_hash FROM email_suppressions").fetchall()
    assert all(hashed == address_hash(shop_id, JO) for shop_id, _, hashed in rows)
    return {(shop_id, reason) for shop_id, reason, _ in rows}


async def test_complaint_or_hard_bounce_suppresses_in_its_shop_alone(handle: Helper, sent: Helper, demo: Demo) -> None:
    first, second = sent(shop_id=1), sent(shop_id=2)
    assert await handle((first, BOUNCED, True)) == {"applied": 1}
    assert suppressed(demo) == {(1, "bounce")}
    await handle((second, COMPLAINED))
    assert suppressed(demo) == {(1, "bounce"), (2, "complaint")}
    await handle((first, COMPLAINED))
    assert suppressed(demo) == {(1, "complaint"), (2, "complaint")}
    entries = demo.execute("SELECT metadata->>'reason' FROM audit_logs WHERE action = 'mail.suppressed' ORDER BY id")
    assert entries.fetchall() == [("bounce",), ("complaint",), ("complaint",)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(COMPLAINED, "complaint"), (BOUNCED, "bounce"), (MailEventKind.UNSUBSCRIBED, "unsubscribe")],
)
async def test_event_about_a_mail_of_a_deleted_registry_suppresses_its_address(
    resources: Resources, handle: Helper, sent: Helper, demo: Demo, kind: MailEventKind, reason: str
) -> None:
    mail = sent()
    [(registry_id, invitation_id)] = demo.execute(
        """INSERT INTO invitations (shop_id, registry_id, recipient, state, claimed_at)
           SELECT shop_id, registry_id, recipient, state, claimed_at FROM reminders RETURNING registry_id, id"""
    ).fetchall()
    async with registry_write(resources, Actor(1, "test"), [registry_id], on_cache_down="refuse") as write:
        await remove(write, registry_id, counted_for=None)
        write.changed(registry_id)
    assert await handle((mail, DELIVERED), (mail, BOUNCED, False)) == {"ignored": 2}
    for reference in (mail, MailReference(MailKind.INVITATION, 1, invitation_id)):
        assert await handle((reference, kind, True)) == {"applied": 1}
        assert suppressed(demo) == {(1, reason)}
        demo.execute("DELETE FROM email_suppressions")


async def test_order_and_repetition_of_events_make_no_difference(handle: Helper, sent: Helper, demo: Demo) -> None:
    given = [(MailEventKind.DEFERRED, False), (DELIVERED, False), (BOUNCED, True), (MailEventKind.OPENED, False)]
    for order in permutations(given):
        mail = sent()
        for kind, permanent in (*order, *order):
            await handle((mail, kind, permanent))
        demo.execute("UPDATE reminders SET outcome_at = outcome_at - interval '2 days'")
    assert set(outcomes(demo)) == {"bounced"}
    together = sent()
    await handle(*((together, kind, permanent) for kind, permanent in reversed(given)))
    assert outcomes(demo)[-1] == "bounced"


async def test_soft_bounces_suppress_only_when_there_are_three_in_two_weeks(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    old, *mails = [sent() for _ in range(4)]
    await handle((old, BOUNCED, False), *((mail, BOUNCED, False) for mail in mails[:1]))
    demo.execute("UPDATE reminders SET outcome_at = now() - interval '15 days' WHERE id = %s", [old.row_id])
    await handle((mails[1], BOUNCED, False), (mails[1], BOUNCED, False), (sent("other@example.com"), BOUNCED, False))
    assert suppressed(demo) == set()
    await handle((mails[2], BOUNCED, False))
    assert suppressed(demo) == {(1, "bounce")}


async def look_up(resources: Resources, shop: ShopRef, *mails: MailReference, permanent: bool) -> Effect:
    """The effect of a bounce of each mail."""
    now = datetime.now(UTC)
    events = [MailEvent(mail, BOUNCED, permanent, "e", now) for mail in mails]
    messages = [Message(n, "mail-events", now, now, event.to_json()) for n, event in enumerate(events)]
    return await handle_mail_events(resources, shop, messages)


async def apply_at_once(resources: Resources, demo: Demo, first: Effect, second: Effect) -> None:
    """Apply the second effect while the transaction of the first one is open."""

    async def apply(effect: Effect) -> None:
        async with registry_write(resources, Actor(1, "test"), [], on_cache_down="refuse") as write:
            await effect.apply(write)

    async with registry_write(resources, Actor(1, "test"), [], on_cache_down="refuse") as write:
        await first.apply(write)
        task = asyncio.create_task(apply(second))
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await wait_until(lambda: task.done() or demo.execute(waiting).fetchall())
    await task


async def test_soft_bounces_that_are_handled_at_once_are_counted_together(
    resources: Resources, shop: ShopRef, handle: Helper, sent: Helper, demo: Demo
) -> None:
    await handle((sent(), BOUNCED, False))
    effects = [await look_up(resources, shop, sent(), permanent=False) for _ in range(2)]
    await apply_at_once(resources, demo, *effects)
    assert suppressed(demo) == {(1, "bounce")}


async def test_provider_that_bounces_everyone_at_once_suppresses_few(
    resources: Resources, sent: Helper, demo: Demo
) -> None:
    mails = [sent(f"{n}@example.com", shop_id=n % 3 + 1) for n in range(24)]
    events = [MailEvent(mail, BOUNCED, permanent=True, event_id="e", occurred_at=datetime.now(UTC)) for mail in mails]
    await store_events(resources.db, Inbox(resources.db, WebhookQueue(resources.redis)), "ses", events)
    stored = demo.execute("SELECT shop_domain, array_agg(id) FROM webhook_events GROUP BY shop_domain, id / 2")
    await asyncio.gather(*(process(resources, HANDLERS, domain, ids) for domain, ids in stored.fetchall()))
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchall() == [(4,)]
    counts = demo.execute("SELECT outcome, count(*) FROM webhook_events GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == [("applied", 4), ("dead", 20)]


@pytest.mark.parametrize("kind", [DELIVERED, MailEventKind.DEFERRED, MailEventKind.REJECTED])
async def test_other_outcomes_suppress_nothing(handle: Helper, sent: Helper, demo: Demo, kind: MailEventKind) -> None:
    assert await handle((sent(), kind)) == {"applied": 1}
    assert suppressed(demo) == set()


async def test_invitations_have_outcomes_too(handle: Helper, demo: Demo) -> None:
    [[row_id, recipient]] = demo.execute(
        "SELECT id, recipient FROM invitations WHERE shop_id = 1 ORDER BY id LIMIT 1"
    ).fetchall()
    await handle((MailReference(MailKind.INVITATION, 1, row_id), COMPLAINED))
    [[outcome]] = demo.execute("SELECT outcome FROM invitations WHERE id = %s", [row_id]).fetchall()
    [[hashed]] = demo.execute("SELECT address_hash FROM email_suppressions").fetchall()
    assert (outcome, hashed) == ("complained", address_hash(1, recipient))


async def test_provider_that_bounces_everyone_suppresses_few_until_a_person_decides(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    mails = [sent(f"{n}@example.com") for n in range(12)]
    for mail in mails:
        await handle((mail, BOUNCED, True))
    count = "SELECT count(*) FROM email_suppressions"
    assert demo.execute(count).fetchall() == [(4,)]  # fewer than five are never suspicious
    [[dead, reason]] = demo.execute(
        "SELECT count(*), min(failures->-1->>'reason') FROM webhook_events WHERE outcome = 'dead'"
    ).fetchall()
    assert dead == 8
    assert reason.startswith("Most mails of the last day bounced")
    # The provider recovers: then a person lets the dead letters be handled again.
    for n in range(20):
        await handle((sent(f"fine{n}@example.com"), DELIVERED))
    demo.execute("UPDATE webhook_events SET handled_at = NULL, outcome = NULL, due_at = now() WHERE outcome = 'dead'")
    assert await handle() == {"applied": 8}
    assert demo.execute(count).fetchall() == [(12,)]


async def test_provider_that_bounces_most_suppresses_few_whatever_it_delivers_meanwhile(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    for n in range(8):
        for part in range(3):
            await handle((sent(f"{n}.{part}@example.com"), BOUNCED, True))
        await handle((sent(f"fine{n}@example.com"), DELIVERED))
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchall() == [(4,)]


async def test_doubted_bounce_counts_once_a_person_replays_it(
    resources: Resources, handle: Helper, sent: Helper, demo: Demo
) -> None:
    """A mail server reports no delivery: without a person, nothing would end the doubt."""
    for n in range(7):
        await handle((sent(f"{n}@example.com"), BOUNCED, True))
    [first, *others] = [each.id for each in (await find_dead_letters(resources, None, 9))[0]]
    await decide(resources, None, [first], "replay", {})
    assert await process(resources, HANDLERS, MAPLE, [first]) == {"applied": 1}
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchall() == [(5,)]
    assert [each.id for each in (await find_dead_letters(resources, None, 9))[0]] == others


@pytest.mark.parametrize(("others", "number"), [(0, 4), (20, 8)])
async def test_mail_that_did_not_bounce_by_smtp_counts_as_delivered(
    resources: Resources, sent: Helper, demo: Demo, others: int, number: int
) -> None:
    demo.execute("UPDATE invitations SET claimed_at = NULL")
    for n in range(others):
        sent(f"fine{n}@example.com")
    for n in range(8):
        mail = sent(f"{n}@example.com")
        event = MailEvent(mail, BOUNCED, permanent=True, event_id="permanent", occurred_at=datetime.now(UTC))
        await store_events(resources.db, Inbox(resources.db, WebhookQueue(resources.redis)), "smtp", [event])
        [[row_id]] = demo.execute("SELECT max(id) FROM webhook_events").fetchall()
        await process(resources, HANDLERS, MAPLE, [row_id])
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchall() == [(number,)]


async def test_several_bounces_of_one_mail_are_one(handle: Helper, sent: Helper, demo: Demo) -> None:
    mail = sent()
    assert (await handle(*[(mail, BOUNCED, True)] * 5))["applied"] == 1
    assert suppressed(demo) == {(1, "bounce")}


async def test_provider_that_bounces_everyone_softly_suppresses_no_address(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    for _ in range(3):
        for n in range(6):
            await handle((sent(f"{n}@example.com"), BOUNCED, False))
    assert set(outcomes(demo)) == {"soft_bounced"}
    assert suppressed(demo) == set()


@pytest.mark.parametrize("days", [-40_000, -3, 3])
async def test_bounces_with_times_of_other_days_are_judged_too(
    resources: Resources, shop: ShopRef, sent: Helper, demo: Demo, days: int
) -> None:
    now = datetime.now(UTC)
    at = now + timedelta(days=days)
    for n in range(12):
        event = MailEvent(sent(f"{n}@example.com"), BOUNCED, permanent=True, event_id=f"e{n}", occurred_at=at)
        received_at = now - timedelta(days=3 if days == -3 else 0)
        effect = await handle_mail_events(
            resources, shop, [Message(n, "mail-events", NOON, received_at, event.to_json())]
        )
        async with registry_write(resources, Actor(shop.id, "test"), [], on_cache_down="refuse") as write:
            await effect.apply(write)
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchall() == [(4,)]


async def test_addresses_are_suppressed_in_one_order_that_no_two_consumers_deadlock(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    demo.execute("DELETE FROM audit_logs")
    rows = demo.execute("SELECT id FROM invitations WHERE shop_id = 1 ORDER BY id LIMIT 2").fetchall()
    invitations = [MailReference(MailKind.INVITATION, 1, row_id) for (row_id,) in rows]
    await handle(*((mail, COMPLAINED) for mail in (*(sent(f"{n}@example.com") for n in range(6)), *invitations)))
    written = demo.execute("SELECT resource_id FROM audit_logs WHERE action = 'mail.suppressed' ORDER BY id").fetchall()
    assert len(written) == 8
    assert written == sorted(written)


async def test_more_events_than_may_wait_are_stored_by_one_request(resources: Resources, sent: Helper) -> None:
    inbox, mail = Inbox(resources.db, WebhookQueue(resources.redis)), sent()
    number = inbox.limits.max_waiting + 1
    events = [MailEvent(mail, DELIVERED, permanent=False, event_id=f"e{n}", occurred_at=NOON) for n in range(number)]
    assert await store_events(resources.db, inbox, "sendgrid", events) == number


async def test_event_of_a_mail_that_is_gone_or_of_a_shop_that_is_gone_is_ignored(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    mail = sent()
    demo.execute("DELETE FROM reminders")
    assert await handle((mail, BOUNCED, True)) == {"ignored": 1}
    assert await handle((mail._replace(shop_id=999), BOUNCED, True)) == {}
    assert suppressed(demo) == set()


async def test_complaint_about_a_shop_without_the_app_counts_when_it_has_the_app_again(
    handle: Helper, sent: Helper, demo: Demo
) -> None:
    mail = sent()
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    assert await handle((mail, COMPLAINED)) == {"applied": 1}
    assert suppressed(demo) == {(1, "complaint")}


async def test_events_do_not_wait_for_webhooks_that_wait_for_shopify(
    resources: Resources, sent: Helper, demo: Demo
) -> None:
    event = MailEvent(sent(), COMPLAINED, permanent=False, event_id="e", occurred_at=NOON)
    suppressed_first = list[bool]()

    async def wait(*_: object) -> Effect:
        suppressed_first.append(suppressed(demo) == {(1, "complaint")})
        return Effect(frozenset(), change_nothing)

    receive(demo, topic="orders/create")
    await store_events(resources.db, Inbox(resources.db, WebhookQueue(resources.redis)), "ses", [event])
    ids = [row_id for (row_id,) in demo.execute("SELECT id FROM webhook_events")]
    assert await process(resources, {**HANDLERS, "orders/create": wait}, MAPLE, ids) == {"applied": 2}
    assert suppressed_first == [True]


async def test_event_in_the_name_of_another_shop_is_a_dead_letter(
    resources: Resources, shop: ShopRef, sent: Helper
) -> None:
    event = MailEvent(sent(shop_id=2), BOUNCED, permanent=True, event_id="1", occurred_at=NOON)
    for payload in (event.to_json(), {}, event.to_json() | {"kind": "?"}, event.to_json() | {"occurred_at": 1}):
        with pytest.raises(PayloadInvalid):
            await handle_mail_events(resources, shop, [Message(1, "mail-events", NOON, NOON, payload)])


async def test_outcomes_are_counted_by_shop_all_kinds_from_the_first_on(
    handle: Helper, sent: Helper, resources: Resources
) -> None:
    await handle((sent(), DELIVERED), (sent(), DELIVERED), (sent(shop_id=2), COMPLAINED))
    await resources.counters.flush()
    families = await resources.counters.read()
    counted = {each.labels: each.value for each in families["mail_outcomes_total"]}
    assert counted["maple-and-pine.myshopify.com", "ses", "delivered"] == 2
    assert counted["maple-and-pine.myshopify.com", "ses", "complained"] == 0
    assert sum(counted.values()) == 3


async def test_no_address_is_logged_or_kept_with_an_event(
    handle: Helper, sent: Helper, demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await handle((sent(), BOUNCED, True), (sent(), COMPLAINED), (sent(shop_id=2), BOUNCED, False))
    kept = demo.execute(
        """SELECT (SELECT string_agg(convert_from(payload, 'UTF8') || failures::text, '') FROM webhook_events)
            || (SELECT string_agg(audit_logs::text, '') FROM audit_logs)"""
    ).fetchall()
    for text in (caplog.text, str(kept)):
        assert "jo@" not in text
        assert "example.com" not in text
