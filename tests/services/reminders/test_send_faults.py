"""Reminders when the mail server refuses, postpones or drops mails."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind
from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from tests.support.mail import recipients_of
from tests.support.reminders import EMMA, HUGO, NOW
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_references import MailKind, MailReference, read_token
from wishcraft.errors import EveryMailRefused, MailUnavailable, TooManyAddressesRefused
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Changes
from wishcraft.services.mail.references import reference_keys
from wishcraft.services.mail.reputation import judge_refusals
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.usefixtures("two_to_remind")


def states(demo: Demo) -> dict[str, tuple[Any, ...]]:
    found = demo.execute("SELECT recipient, state, attempts, last_error FROM reminders").fetchall()
    return {recipient: tuple(rest) for recipient, *rest in found}


async def test_the_outcomes_of_mails_are_counted_for_the_metrics(
    resources: Resources, settings: Settings, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.DEFER, EMMA, remaining=1))
    await remind_shop(resources, settings, shop, now=NOW)
    await resources.counters.flush()
    counted = (await resources.counters.read())["mails_total"]
    assert {each.labels[0]: each.value for each in counted if each.value} == {"sent": 1, "postponed": 1}


async def test_a_postponed_reminder_is_sent_by_a_later_run(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.DEFER, EMMA, remaining=1))
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["due"], counts["sent"], counts["postponed"]) == (2, 1, 1)
    assert states(demo)[EMMA] == ("pending", 0, "the mail server takes it later: 451 4.7.1")
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["due"], counts["sent"]) == (1, 1)
    assert recipients_of(mailbox) == [EMMA, HUGO]
    assert states(demo)[EMMA] == ("sent", 1, None)


async def test_a_refused_address_is_suppressed_and_other_mails_are_sent(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.REFUSE, EMMA))
    began = datetime.now(UTC)
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["refused"]) == (1, 1)
    for _ in range(2):
        await judge_refusals(resources, MailKind.REMINDER, began)
    assert states(demo)[EMMA] == ("suppressed", 0, "refused: the mail server refuses the address: 550 5.1.1")
    mailbox.faults.clear()
    assert (await remind_shop(resources, settings, shop, now=NOW + timedelta(6)))["suppressed"] == 1
    assert recipients_of(mailbox) == [HUGO, HUGO]  # the week's and the day's
    known = demo.execute("SELECT shop_id, address_hash, reason FROM email_suppressions").fetchall()
    assert known == [(shop.id, address_hash(shop.id, EMMA), "bounce")]
    entries = demo.execute("SELECT resource_id FROM audit_logs WHERE action = 'mail.suppressed'").fetchall()
    assert entries == [(address_hash(shop.id, EMMA).hex(),)]  # once, though judged twice


async def test_a_run_stops_when_the_server_rejects_every_mail_and_leaves_the_rest_due(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute(
        """INSERT INTO invitations (shop_id, registry_id, recipient, state, answer)
           SELECT 1, min(id), 'p' || n || '@example.com', 'sent', 'confirmed'
           FROM registries, generate_series(1, 40) n WHERE shop_id = 1 GROUP BY n"""
    )
    mailbox.faults.set(Fault(FaultKind.REJECT))
    changes = Changes()
    with pytest.raises(EveryMailRefused, match="every mail: 12 so far"):
        await remind_shop(resources, settings, shop, now=NOW, changes=changes)
    assert list(changes.examples["why mails failed"]) == ["the mail server refuses the mail: 554 5.7.1"]
    mailbox.faults.clear()
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == 30


async def test_no_address_is_suppressed_if_the_server_refuses_most_recipients(
    resources: Resources, settings: Settings, demo: Demo, mailbox: Mailbox
) -> None:
    demo.execute(  # two in each of three shops: too few to judge a single shop
        """UPDATE registries SET event_date = %s, status = 'active', customer_email = 'emma@example.com',
               co_registrants = '[{"first_name": "Hugo", "email": "hugo@example.com"}]'
           WHERE id IN (SELECT min(id) FROM registries GROUP BY shop_id)""",
        [NOW.date() + timedelta(7)],
    )
    confirm_everyone(demo)
    async with resources.db.repeatable_read() as session:
        every = await shops.find_active(session)
    began = datetime.now(UTC)
    mailbox.faults.set(Fault(FaultKind.REFUSE))
    refused = [(await remind_shop(resources, settings, each, now=NOW))["refused"] for each in every]
    assert refused == [2, 2, 2]
    with pytest.raises(TooManyAddressesRefused, match="6 of 6 mailboxes"):
        await judge_refusals(resources, MailKind.REMINDER, began)
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)
    mailbox.faults.clear()
    began = datetime.now(UTC)
    sent = [(await remind_shop(resources, settings, each, now=NOW))["sent"] for each in every]
    assert sent == [2, 2, 2]
    await judge_refusals(resources, MailKind.REMINDER, began)
    assert {state for state, *_ in states(demo).values()} == {"sent"}


async def test_refusals_of_an_earlier_run_are_not_judged_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.REFUSE, EMMA))
    await remind_shop(resources, settings, shop, now=NOW)
    await judge_refusals(resources, MailKind.REMINDER, datetime.now(UTC))
    assert states(demo)[EMMA][0] == "pending"
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)


async def test_a_mail_refused_by_policy_fails_without_a_suppression(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.REJECT, EMMA))
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["failed"]) == (1, 1)
    assert states(demo)[EMMA][0] == "failed"
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)
    assert recipients_of(mailbox) == [HUGO]


async def test_an_unknown_outcome_is_sent_again_under_resend(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.DROP, EMMA, remaining=1))
    assert (await remind_shop(resources, settings, shop, now=NOW))["postponed"] == 1
    await remind_shop(resources, settings, shop, now=NOW)
    assert recipients_of(mailbox) == [EMMA, EMMA, HUGO]
    assert len({str(received.parsed["Message-ID"]) for received in mailbox.messages}) == 2  # one for each reminder
    assert {state for state, *_ in states(demo).values()} == {"sent"}


@pytest.mark.parametrize("name", ["smtp", "ses", "sendgrid"])
async def test_each_provider_sends_each_reminder_once_with_its_reference(
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    mail_urls: dict[str, SecretStr],
    name: str,
) -> None:
    update = {"mail_url": mail_urls[name], "bounce_address": "bounces@wishcraft.example"}
    chosen = settings.model_copy(update=update)
    async with open_resources(chosen) as resources:
        assert (await remind_shop(resources, chosen, shop, now=NOW))["sent"] == 2
        assert (await remind_shop(resources, chosen, shop, now=NOW))["due"] == 0
    assert recipients_of(mailbox) == [EMMA, HUGO]
    ids: dict[str, int] = dict(demo.execute("SELECT recipient, id FROM reminders").fetchall())
    for each in mailbox.messages if name != "sendgrid" else []:  # whose custom arguments no recipient sees
        token = each.parsed["X-WishCraft-Mail"] or each.sender.partition("+")[2].partition("@")[0]
        reference = MailReference(MailKind.REMINDER, shop.id, ids[each.recipients[0]])
        assert read_token(token, reference_keys(chosen)) == reference


@pytest.mark.parametrize("name", ["ses", "sendgrid"])
async def test_a_reply_lost_by_a_provider_is_made_up_for_by_the_next_run(
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    mailbox_server: tuple[str, FastAPI],
    mail_urls: dict[str, SecretStr],
    name: str,
) -> None:
    chosen = settings.model_copy(update={"mail_url": mail_urls[name]})
    fault = ProviderFault(ProviderFaultKind.DROP, EMMA, remaining=1)
    getattr(mailbox_server[1].state, name).faults.set(fault)
    async with open_resources(chosen) as resources:
        assert (await remind_shop(resources, chosen, shop, now=NOW))["postponed"] == 1
        assert (await remind_shop(resources, chosen, shop, now=NOW))["sent"] == 1
    assert recipients_of(mailbox) == [EMMA, EMMA, HUGO]
    assert {state for state, *_ in states(demo).values()} == {"sent"}


async def test_an_unknown_outcome_is_held_under_hold_until_a_person_decides(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    mailbox.faults.set(Fault(FaultKind.DROP, EMMA, remaining=1))
    for _ in range(2):
        assert (await remind_shop(resources, holding, shop, now=NOW))["held"] == 1
    assert recipients_of(mailbox) == [EMMA, HUGO]
    assert states(demo)[EMMA][0] == "sending"
    await remind_shop(resources, settings, shop, now=NOW)  # the decision: resend
    assert recipients_of(mailbox) == [EMMA, EMMA, HUGO]


async def test_a_held_reminder_is_given_up_after_its_event(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    mailbox.faults.set(Fault(FaultKind.DROP, EMMA, remaining=1))
    await remind_shop(resources, holding, shop, now=NOW)
    assert (await remind_shop(resources, holding, shop, now=NOW + timedelta(8)))["held"] == 0
    assert states(demo)[EMMA][0] == "failed"


async def test_a_mail_server_lost_mid_run_leaves_the_rest_for_the_next_run(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    unreachable = settings.model_copy(update={"mail_url": SecretStr("smtp://127.0.0.1:1")})
    async with open_resources(unreachable) as unable:
        with pytest.raises(MailUnavailable):
            await remind_shop(unable, unreachable, shop, now=NOW)
    assert {state for state, *_ in states(demo).values()} == {"pending"}
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == 2


async def test_no_address_is_logged_or_kept_in_an_error(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for kind in (FaultKind.DEFER, FaultKind.DROP, FaultKind.REJECT, FaultKind.REFUSE):
        mailbox.faults.set(Fault(kind, remaining=2))
        await remind_shop(resources, settings, shop, now=NOW)
        errors = " ".join(str(error) for *_, error in states(demo).values())
        assert "example.com" not in errors
    ours = [
        record.getMessage() for record in caplog.records if not record.name.startswith("mail.log")
    ]  # the mail server logs in this process
    assert not [line for line in ours if EMMA in line or HUGO in line]
