"""Reminders against a real PostgreSQL and a real SMTP server."""

import asyncio
from typing import Final

import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.mail import recipients_of
from tests.support.reminders import DAY, NOW, WEEK, change, fresh, rows
from wishcraft.domain.addresses import address_hash
from wishcraft.errors import ConfigurationError, MailUnavailable, RunStopped, SenderRefused
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Changes
from wishcraft.services.reminders.send import find_due_reminders, remind_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef


async def test_a_reminder_is_sent_once_however_often_the_job_runs(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    first = await remind_shop(resources, settings, shop, now=NOW)
    again = await remind_shop(resources, settings, shop, now=NOW)
    assert (first["due"], first["sent"], again["due"], again["sent"]) == (1, 1, 0, 0)
    assert recipients_of(mailbox) == ["emma@example.com"]
    assert rows(demo) == [("7_days", WEEK, "emma@example.com", "sent", 1)]
    assert demo.execute("SELECT provider FROM reminders WHERE registry_id = %s", [registry]).fetchall() == [("smtp",)]


async def test_shop_with_too_many_complaints_sends_nothing_until_they_are_old(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, outcome, outcome_at)
           SELECT shop_id, id, '7_days', '2020-01-01', n || '@example.com', 'sent', 'complained', now()
           FROM registries, generate_series(1, 3) n WHERE id = %s""",
        [registry],
    )
    changes = Changes()
    paused = await remind_shop(resources, settings, shop, now=NOW, changes=changes)
    assert paused["paused"] == 1
    assert list(changes.examples["mails paused because of complaints (runbook: mail)"]) == ["1"]
    assert (paused["due"], paused["sent"], recipients_of(mailbox)) == (0, 0, [])
    await resources.counters.flush()
    [series] = (await resources.counters.read())["mail_paused"]
    assert (series.labels, series.value) == ((shop.domain,), 1)
    demo.execute("UPDATE reminders SET outcome_at = now() - interval '8 days' WHERE outcome IS NOT NULL")
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == 1


async def test_two_runs_at_once_send_each_reminder_once(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [DAY, shop.id])
    async with open_resources(settings, redis_timeout=5) as other:
        counts = await asyncio.gather(
            remind_shop(resources, settings, shop, now=NOW), remind_shop(other, settings, shop, now=NOW)
        )
    owed = {recipient for _, _, recipient, _, _ in rows(demo)}
    assert len(owed) > 4
    assert sum(each["sent"] for each in counts) == len(mailbox.messages) == len(rows(demo))
    assert set(recipients_of(mailbox)) == owed
    ids = [str(received.parsed["Message-ID"]) for received in mailbox.messages]
    assert len(set(ids)) == len(ids)


async def test_each_co_registrant_gets_a_separate_mail(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    others = (
        '[{"first_name": "Hugo", "last_name": "R", "email": "hugo@example.com"},'
        ' {"first_name": "E", "last_name": "R", "email": "EMMA@example.com"},'
        ' {"first_name": "No", "last_name": "Address", "email": "nowhere"}]'
    )
    change(demo, registry, co_registrants=others)
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == 2
    assert sorted(received.recipients for received in mailbox.messages) == [["emma@example.com"], ["hugo@example.com"]]
    links = {str(received.parsed["List-Unsubscribe"]) for received in mailbox.messages}
    assert len(links) == 2


async def test_a_reminder_has_the_address_for_answers_and_the_postal_address_of_its_shop(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    own = {"reply_to": "help@maple.example", "postal_address": "12 Harbor Street, Portland"}
    demo.execute("UPDATE shops SET settings = %s WHERE id = 1", [Jsonb(own)])
    await remind_shop(resources, settings, await fresh(resources, shop), now=NOW)
    [received] = mailbox.messages
    assert str(received.parsed["Reply-To"]) == "Maple & Pine <help@maple.example>"
    body = received.parsed.get_body(["plain"])
    assert body
    assert "Maple & Pine, 12 Harbor Street, Portland" in body.get_content()


OWN_SENDER: Final = "gifts@maple-and-pine.example"


async def test_a_shop_sends_from_its_own_domain_once_it_is_verified(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE shops SET settings = jsonb_build_object('mail_from', %s::text) WHERE id = 1", [OWN_SENDER])
    for verified, sender in ((None, "registry@wishcraft.example"), ("maple-and-pine.example", OWN_SENDER)):
        demo.execute("UPDATE shops SET verified_mail_domain = %s WHERE id = 1", [verified])
        demo.execute("DELETE FROM reminders WHERE registry_id = %s", [registry])
        await remind_shop(resources, settings, shop, now=NOW)
        assert mailbox.messages[-1].parsed["From"].addresses[0].addr_spec == sender


async def test_a_refused_own_sender_is_not_used_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    own = {"mail_from": OWN_SENDER}
    demo.execute("UPDATE shops SET settings = %s, verified_mail_domain = 'maple-and-pine.example'", [Jsonb(own)])
    mailbox.faults.set(Fault(FaultKind.REJECT, remaining=1))
    with pytest.raises(SenderRefused):
        await remind_shop(resources, settings, shop, now=NOW)
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == 1
    [received] = mailbox.messages
    assert received.parsed["From"].addresses[0].addr_spec == "registry@wishcraft.example"
    others = demo.execute("SELECT id FROM shops WHERE verified_mail_domain IS NOT NULL ORDER BY id").fetchall()
    assert others == [(2,), (3,)]


async def test_a_wrong_key_of_the_provider_leaves_a_shop_its_own_sender(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox,
    mail_urls: dict[str, SecretStr],
) -> None:  # fmt: skip
    own = {"mail_from": OWN_SENDER}
    demo.execute("UPDATE shops SET settings = %s, verified_mail_domain = 'maple-and-pine.example'", [Jsonb(own)])
    wrong = SecretStr(mail_urls["sendgrid"].get_secret_value().replace("SG.", "SX."))
    async with open_resources(settings.model_copy(update={"mail_url": wrong}), redis_timeout=5) as other:
        with pytest.raises(SenderRefused):
            await remind_shop(other, settings, shop, now=NOW)
    await remind_shop(resources, settings, shop, now=NOW)
    [received] = mailbox.messages
    assert received.parsed["From"].addresses[0].addr_spec == OWN_SENDER


@pytest.mark.parametrize("template", ["https://www.maple.example/list?r={slug}", None])
async def test_a_reminder_has_the_share_link_of_its_shop(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox,
    template: str | None,
) -> None:  # fmt: skip
    demo.execute("UPDATE shops SET settings = jsonb_build_object('share_url', %s::text)", [template])
    await remind_shop(resources, settings, await fresh(resources, shop), now=NOW)
    found = demo.execute("SELECT slug FROM registries WHERE id = %s", [registry]).fetchone()
    assert found
    link = (template or f"{settings.shopify_origin.format(shop=shop.domain)}/apps/registry/r/{{slug}}").replace(
        "{slug}", found[0]
    )
    [received] = mailbox.messages
    for kind in ("plain", "html"):
        body = received.parsed.get_body([kind])
        assert body
        assert link in body.get_content()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE registries SET status = 'paused'",
        "UPDATE registries SET event_date = NULL",
        """UPDATE shops SET settings = '{"email_notifications": false}'""",
        "UPDATE shops SET status = 'uninstalled'",
    ],
)
async def test_no_reminder_is_due_for(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    registry: int,
    mailbox: Mailbox,
    statement: str,
) -> None:
    active = await fresh(resources, shop)
    demo.execute(statement.encode())
    now = active if "uninstalled" in statement else await fresh(resources, shop)
    assert (await remind_shop(resources, settings, now, now=NOW))["sent"] == 0
    assert not mailbox.messages


async def test_mail_switched_off_after_a_killed_run_leaves_no_reminder_in_sending(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    await remind_shop(resources, settings, shop, now=NOW)
    demo.execute("UPDATE reminders SET state = 'sending'")
    demo.execute("""UPDATE shops SET settings = '{"email_notifications": false}'""")
    counts = await remind_shop(resources, settings, await fresh(resources, shop), now=NOW)
    assert (counts["sent"], counts["held"], len(mailbox.messages)) == (0, 0, 1)
    assert demo.execute("SELECT DISTINCT state FROM reminders").fetchall() == [("pending",)]


async def test_no_mail_is_sent_to_a_suppressed_address(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    hashed = address_hash(shop.id, "emma@example.com")
    demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, 'complaint')", [shop.id, hashed])
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["due"], counts["suppressed"], counts["sent"]) == (1, 1, 0)
    assert rows(demo)[0][3:] == ("suppressed", 0)
    assert not mailbox.messages


async def test_a_suppression_of_one_shop_does_not_bind_another(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    hashed = address_hash(2, "emma@example.com")
    demo.execute("INSERT INTO email_suppressions VALUES (2, %s, 'unsubscribe')", [hashed])
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] == len(mailbox.messages) == 1


async def test_a_dry_run_lists_due_reminders_by_registry_and_writes_nothing(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    [owed] = await find_due_reminders(resources, settings, shop, now=NOW)
    assert (owed.kind, owed.event_date, owed.mails) == ("7_days", WEEK, 1)
    assert (rows(demo), len(mailbox.messages)) == ([], 0)
    await remind_shop(resources, settings, shop, now=NOW)
    assert await find_due_reminders(resources, settings, shop, now=NOW) == []
    change(demo, registry, customer_email="other@example.com")
    hashed = address_hash(shop.id, "other@example.com")
    demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, 'bounce')", [shop.id, hashed])
    assert await find_due_reminders(resources, settings, shop, now=NOW) == []


async def test_a_stopped_run_leaves_no_reminder_in_sending(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [DAY, shop.id])

    async def stop_after_the_first(done: int, total: int) -> None:
        assert total > 4
        if done:
            raise RunStopped("enough")

    with pytest.raises(RunStopped):
        await remind_shop(resources, settings, shop, now=NOW, checkpoint=stop_after_the_first)
    assert {row[3] for row in rows(demo)} == {"sent", "pending"}
    assert len(mailbox.messages) == 4
    await remind_shop(resources, settings, shop, now=NOW)
    assert len(mailbox.messages) == len(rows(demo))
    assert {(row[3], row[4]) for row in rows(demo)} == {("sent", 1)}


async def test_mail_switched_off_during_a_run_ends_the_sending(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [DAY, shop.id])

    async def switch_off_after_the_first(done: int, _total: int) -> None:
        if done:
            demo.execute("""UPDATE shops SET settings = '{"email_notifications": false}'""")

    counts = await remind_shop(resources, settings, shop, now=NOW, checkpoint=switch_off_after_the_first)
    assert counts["sent"] == len(mailbox.messages) == 4
    assert {row[3] for row in rows(demo)} == {"sent", "pending"}
    demo.execute("UPDATE shops SET settings = '{}'")
    await remind_shop(resources, settings, shop, now=NOW)
    assert {row[3] for row in rows(demo)} == {"sent"}


async def test_settings_that_change_during_a_run_count_from_the_next_mails_on(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [DAY, shop.id])

    async def change_after_the_first(done: int, _total: int) -> None:
        if done:
            demo.execute("""UPDATE shops SET settings = '{"reply_to": "gifts@maple.example", "language": "de"}'""")

    await remind_shop(resources, settings, shop, now=NOW, checkpoint=change_after_the_first)
    parsed = [each.parsed for each in mailbox.messages]
    changed = [(each["Subject"].startswith("Morgen"), "gifts@maple.example" in each["Reply-To"]) for each in parsed]
    assert changed == [(False, False)] * 4 + [(True, True)] * (len(parsed) - 4)
    assert len(parsed) > 4


async def test_all_reminders_stay_due_while_the_mail_server_does_not_answer(
    settings: Settings, demo: Demo, shop: ShopRef, registry: int
) -> None:
    unreachable = settings.model_copy(update={"mail_url": type(settings.encryption_keys)("smtp://127.0.0.1:1")})
    async with open_resources(unreachable) as resources:
        with pytest.raises(MailUnavailable):
            await remind_shop(resources, unreachable, shop, now=NOW)
    assert [row[3] for row in rows(demo)] == ["pending"]


@pytest.mark.parametrize("missing", ["mail_url", "mail_from", "public_url"])
async def test_a_missing_setting_is_named_in_the_error(
    settings: Settings, demo: Demo, shop: ShopRef, registry: int, missing: str
) -> None:
    lacking = settings.model_copy(update={missing: None})
    async with open_resources(lacking) as resources:
        with pytest.raises(ConfigurationError, match=missing.upper()):
            await remind_shop(resources, lacking, shop, now=NOW)
    assert {row[3] for row in rows(demo)} == {"pending"}
