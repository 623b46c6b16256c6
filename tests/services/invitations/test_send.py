"""Invitations against a real PostgreSQL and a real SMTP server."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.invitations import invite, link_in
from tests.support.mail import recipients_of
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_references import MailKind
from wishcraft.errors import MailUnavailable, RunStopped, TooManyAddressesRefused
from wishcraft.resources import Resources, open_resources
from wishcraft.services.invitations.send import count_waiting, invite_shop
from wishcraft.services.mail.reputation import judge_refusals
from wishcraft.services.mail.suppressions import lift_suppressions
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store import invitations, shops, suppressions
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

NOW = datetime.now(UTC)
HUGO = "hugo@example.com"


@pytest.fixture(autouse=True)
def _no_invitations(demo: Demo, settings: Settings) -> None:
    """The shop's registries are active, their events far ahead, and there is no invitation yet."""
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET status = 'active', event_date = %s", [NOW.date() + timedelta(60)])


def states(demo: Demo) -> dict[str, tuple[Any, ...]]:
    found = demo.execute("SELECT recipient, state, attempts, last_error FROM invitations").fetchall()
    return {recipient: tuple(rest) for recipient, *rest in found}


async def test_an_invitation_is_sent_once_however_often_the_job_runs(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    first = await invite_shop(resources, settings, shop, now=NOW)
    again = await invite_shop(resources, settings, shop, now=NOW)
    assert (first["due"], first["sent"], again["due"], again["sent"]) == (1, 1, 0, 0)
    assert recipients_of(mailbox) == [HUGO]
    assert states(demo) == {HUGO: ("sent", 1, None)}
    [received] = mailbox.messages
    assert str(received.parsed["Subject"]) == "Please confirm your e-mail address"
    assert str(received.parsed["List-Unsubscribe"]).startswith("<https://registry.wishcraft.example/api/unsubscribe/")


async def test_only_the_hash_of_the_links_token_is_stored(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    await invite_shop(resources, settings, shop, now=NOW)
    token = link_in(mailbox.messages[0]).rpartition("/")[2]
    [(row, is_hash)] = demo.execute(
        "SELECT to_jsonb(i)::text, token_hash = sha256(convert_to(%s, 'UTF8')) FROM invitations i", [token]
    ).fetchall()
    assert is_hash
    assert token not in row


async def test_two_runs_at_once_send_each_invitation_once(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invited = {f"p{number}@example.com" for number in range(12)}
    invite(demo, *invited)
    async with open_resources(settings, redis_timeout=5) as other:
        counts = await asyncio.gather(
            invite_shop(resources, settings, shop, now=NOW), invite_shop(other, settings, shop, now=NOW)
        )
    assert sum(each["sent"] for each in counts) == len(mailbox.messages) == 12
    assert set(recipients_of(mailbox)) == invited


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE registries SET status = 'paused'",
        "UPDATE registries SET event_date = '2026-01-01'",
        """UPDATE shops SET settings = '{"email_notifications": false}'""",
        "UPDATE invitations SET removed_at = now()",
        "UPDATE invitations SET answer = 'declined'",
        "UPDATE invitations SET answer = 'confirmed'",
    ],
)
async def test_no_invitation_is_sent_for(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox, statement: str
) -> None:
    invite(demo, HUGO)
    demo.execute(statement.encode())
    async with resources.db.repeatable_read() as session:
        [shop] = await shops.find_active(session, [shop.domain])
    await invite_shop(resources, settings, shop, now=NOW)
    assert not mailbox.messages
    assert await count_waiting(resources, settings, shop, now=NOW) == {"due": 0, "waiting": 0}


async def test_mail_switched_off_after_the_run_began_sends_no_invitation(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    demo.execute("""UPDATE shops SET settings = '{"email_notifications": false}'""")
    assert shop.settings.email_notifications
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], len(mailbox.messages)) == (0, 0)


async def test_mail_switched_off_after_a_killed_run_leaves_no_invitation_in_sending(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    demo.execute("UPDATE invitations SET state = 'sending'")
    demo.execute("""UPDATE shops SET settings = '{"email_notifications": false}'""")
    async with resources.db.repeatable_read() as session:
        [shop] = await shops.find_active(session, [shop.domain])
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["held"], len(mailbox.messages)) == (0, 0, 0)
    assert demo.execute("SELECT DISTINCT state FROM invitations").fetchall() == [("pending",)]


async def test_no_invitation_goes_to_a_suppressed_address_and_none_counts(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    hashed = address_hash(shop.id, HUGO)
    demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, 'unsubscribe')", [shop.id, hashed])
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["due"], counts["suppressed"], counts["sent"]) == (1, 1, 0)
    assert not mailbox.messages
    assert demo.execute("SELECT claimed_at, token_hash, expires_at FROM invitations").fetchall() == [(None, None, None)]


@pytest.mark.parametrize(
    ("limit", "sent"), [("invitations_per_shop", 3), ("invitations_per_customer", 6), ("invitations_per_address", 9)]
)
async def test_invitations_over_a_limit_wait_for_the_next_day(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox, limit: str, sent: int
) -> None:
    limited = settings.model_copy(
        update={f"invitations_per_{each}": 99 for each in ("shop", "customer", "address")} | {limit: 3}
    )
    registries = demo.execute("SELECT id FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 4").fetchall()
    for number, (registry,) in enumerate(registries):
        demo.execute(
            "UPDATE registries SET customer_id = %s WHERE id = %s", [1 + number % 2, registry]
        )  # two customers
        invite(demo, "a@example.com", "b@example.com", "c@example.com", registry=registry)
    counts = await invite_shop(resources, limited, shop, now=NOW)
    assert (counts["sent"], counts["waiting"]) == (sent, 12 - sent)
    assert (await invite_shop(resources, limited, shop, now=NOW))["sent"] == 0
    assert len(mailbox.messages) == sent
    if limit == "invitations_per_address":
        assert set(Counter(recipients_of(mailbox)).values()) == {3}
    demo.execute("UPDATE invitations SET claimed_at = claimed_at - interval '1 day'")  # a day later
    assert await count_waiting(resources, limited, shop, now=NOW) == {
        "due": min(sent, 12 - sent),
        "waiting": 12 - sent - min(sent, 12 - sent),
    }
    await invite_shop(resources, limited, shop, now=NOW)
    assert len(mailbox.messages) == sent + min(sent, 12 - sent)


async def test_the_limits_of_one_shop_do_not_bind_another(
    resources: Resources, settings: Settings, demo: Demo, mailbox: Mailbox
) -> None:
    limited = settings.model_copy(update={"invitations_per_shop": 1})
    async with resources.db.repeatable_read() as session:
        every = await shops.find_active(session)
    for each in every:
        invite(demo, HUGO, shop_id=each.id)
        await invite_shop(resources, limited, each, now=NOW)
    assert recipients_of(mailbox) == [HUGO] * len(every)


async def test_who_is_named_now_does_not_wait_behind_a_backlog(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    for recipient in ("old@example.com", "new@example.com"):
        invite(demo, recipient)
    await invite_shop(resources, settings.model_copy(update={"invitations_per_shop": 1}), shop, now=NOW)
    assert recipients_of(mailbox) == ["new@example.com"]


async def test_a_postponed_invitation_is_sent_later_with_the_same_link(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    mailbox.faults.set(Fault(FaultKind.DROP, HUGO, remaining=1))  # the server has it, and its reply is lost
    assert (await invite_shop(resources, settings, shop, now=NOW))["postponed"] == 1
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 1
    first, second = mailbox.messages
    assert link_in(first) == link_in(second)
    assert str(first.parsed["Message-ID"]) == str(second.parsed["Message-ID"])


async def test_an_unknown_outcome_is_held_under_hold(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO)
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    mailbox.faults.set(Fault(FaultKind.DROP, HUGO, remaining=1))
    for _ in range(2):
        assert (await invite_shop(resources, holding, shop, now=NOW))["held"] == 1
    assert recipients_of(mailbox) == [HUGO]


async def test_a_refused_address_is_suppressed_unless_most_are_refused(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, *(f"p{number}@example.com" for number in range(6)))
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    began = datetime.now(UTC)
    assert (await invite_shop(resources, settings, shop, now=NOW))["refused"] == 6
    with pytest.raises(TooManyAddressesRefused, match="6 of 6"):
        await judge_refusals(resources, MailKind.INVITATION, began)
    mailbox.faults.clear()
    mailbox.faults.set(Fault(FaultKind.REFUSE, "p1@example.com"))
    began = datetime.now(UTC)
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["refused"]) == (5, 1)
    await judge_refusals(resources, MailKind.INVITATION, began)
    ended = demo.execute("SELECT expires_at IS NOT NULL FROM invitations WHERE state = 'suppressed'").fetchall()
    assert (states(demo)["p1@example.com"][0], ended) == ("suppressed", [(False,)])
    assert demo.execute("SELECT address_hash, reason FROM email_suppressions").fetchall() == [
        (address_hash(shop.id, "p1@example.com"), "bounce")
    ]


async def test_invitation_that_was_not_sent_for_a_suppression_is_sent_once_it_is_lifted(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    invite(demo, HUGO, "jo@example.com")
    for recipient in (HUGO, "jo@example.com"):
        demo.execute(
            "INSERT INTO email_suppressions VALUES (%s, %s, 'bounce')", [shop.id, address_hash(shop.id, recipient)]
        )
    assert (await invite_shop(resources, settings, shop, now=NOW))["suppressed"] == 2
    demo.execute("UPDATE invitations SET expires_at = expires_at - interval '15 days'")  # a fortnight later
    assert await lift_suppressions(resources, Actor(shop.id, "test"), [address_hash(shop.id, HUGO)]) == 1
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 1
    assert recipients_of(mailbox) == [HUGO]


@pytest.mark.parametrize(
    ("tries", "days_left", "sent"), [(0, -1, 1), (1, 5, 1), (1, -1, 0)], ids=["never-sent", "in-time", "expired"]
)
async def test_person_who_is_named_again_after_a_suppression_was_lifted_is_invited(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox, tries: int, days_left: int,
    sent: int,
) -> None:  # fmt: skip
    registry, hashed = invite(demo, HUGO), address_hash(shop.id, HUGO)
    demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, 'unsubscribe')", [shop.id, hashed])
    assert (await invite_shop(resources, settings, shop, now=NOW))["suppressed"] == 1
    demo.execute("UPDATE invitations SET attempts = %s, expires_at = now() + %s", [tries, timedelta(days=days_left)])
    for people in ("[]", '[{"first_name": "Hugo", "email": "hugo@example.com"}]'):
        demo.execute("UPDATE registries SET co_registrants = %s WHERE id = %s", [people, registry])
        async with resources.db.transaction() as session:
            await invitations.invite(session, shop.id, registry, vouched=True)
            await suppressions.lift(session, shop.id, [hashed])
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == sent
    assert recipients_of(mailbox) == [HUGO] * sent


async def test_invitations_wait_while_the_mail_server_does_not_answer(
    settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    invite(demo, HUGO)
    unreachable = settings.model_copy(update={"mail_url": type(settings.encryption_keys)("smtp://127.0.0.1:1")})
    async with open_resources(unreachable) as resources:
        with pytest.raises(MailUnavailable):
            await invite_shop(resources, unreachable, shop, now=NOW)
    assert states(demo)[HUGO][:2] == ("pending", 0)


async def test_a_stopped_run_leaves_the_rest_for_the_next(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    invite(demo, *(f"p{number}@example.com" for number in range(6)))

    async def stop_after_the_first(done: int, total: int) -> None:
        assert total == 6
        if done:
            raise RunStopped("enough")

    with pytest.raises(RunStopped):
        await invite_shop(resources, settings, shop, now=NOW, checkpoint=stop_after_the_first)
    assert Counter(state for state, *_ in states(demo).values()) == {"sent": 4, "pending": 2}
    assert (await invite_shop(resources, settings, shop, now=NOW))["sent"] == 2


async def test_no_address_is_logged_or_kept_in_an_error(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    invite(demo, HUGO)
    for kind in (FaultKind.DEFER, FaultKind.DROP, FaultKind.REJECT):
        mailbox.faults.set(Fault(kind, remaining=1))
        await invite_shop(resources, settings, shop, now=NOW)
        assert "example.com" not in str(states(demo)[HUGO])
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.log")]
    assert not [line for line in ours if HUGO in line]


async def test_reminders_go_to_confirmed_addresses_that_are_still_named(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    people = ("waits", "sent", "declined", "removed", "confirmed")
    registry = invite(demo, *(f"{each}@example.com" for each in people))
    for statement in (
        "UPDATE invitations SET state = 'sent' WHERE recipient ^@ 'sent'",
        "UPDATE invitations SET answer = 'declined' WHERE recipient ^@ 'declined'",
        "UPDATE invitations SET answer = 'confirmed' WHERE recipient ^@ 'confirmed' OR recipient ^@ 'removed'",
        "UPDATE invitations SET removed_at = now() WHERE recipient ^@ 'removed'",
    ):
        demo.execute(statement.encode())
    demo.execute("UPDATE registries SET event_date = %s WHERE id = %s", [date(2026, 3, 21), registry])
    await remind_shop(resources, settings, shop, now=datetime(2026, 3, 14, 15, tzinfo=UTC))
    assert recipients_of(mailbox) == ["confirmed@example.com"]
    assert demo.execute("SELECT recipient FROM reminders").fetchall() == [("confirmed@example.com",)]  # planned, too


async def test_a_reminder_that_was_postponed_is_not_sent_after_a_removal(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    registry = invite(demo, HUGO)
    demo.execute("UPDATE invitations SET answer = 'confirmed'")
    demo.execute("UPDATE registries SET event_date = %s WHERE id = %s", [date(2026, 3, 21), registry])
    mailbox.faults.set(Fault(FaultKind.DEFER, HUGO, remaining=1))
    now = datetime(2026, 3, 14, 15, tzinfo=UTC)
    assert (await remind_shop(resources, settings, shop, now=now))["postponed"] == 1
    demo.execute("UPDATE invitations SET removed_at = now()")
    assert (await remind_shop(resources, settings, shop, now=now))["due"] == 0
    assert not mailbox.messages


async def test_a_mail_that_cannot_be_composed_claims_nothing(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    invite(demo, HUGO)
    lacking = settings.model_copy(update={"public_url": None})
    with pytest.raises(Exception, match="PUBLIC_URL"):
        await invite_shop(replace(resources), lacking, shop, now=NOW)
    assert states(demo)[HUGO] == ("pending", 0, None)
