"""Handing over what is known about a customer: a file for those who run WishCraft, and a mail that says nothing."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper
from tests.support.erased_person import CUSTOMER, EMAIL, GUEST_ORDER, NAMES, REDACT, REGISTRANT, handle, receive, redact
from tests.support.residual_data import traces_in_postgresql
from tests.support.waiting import wait_until
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.webhooks import DATA_REQUEST
from wishcraft.errors import MailAcceptanceUnknown, MailRefused, MailUnavailable, in_words
from wishcraft.mail.mailer import Mail
from wishcraft.resources import Resources
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import settings
from wishcraft.store import people, webhook_inbox

pytestmark = pytest.mark.usefixtures("worker_environment")
REQUEST = REDACT | {"orders_requested": [GUEST_ORDER], "data_request": {"id": 9999}}


async def request(demo: Demo, resources: Resources, payload: object = REQUEST) -> int:
    return await redact(demo, resources, payload, DATA_REQUEST)


def outcome(demo: Demo, row_id: int) -> str | None:
    row = demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone()
    assert row
    return None if row[0] is None else str(row[0])


async def test_file_has_all_that_is_known_about_the_customer_and_nothing_of_others(
    demo: Demo, resources: Resources, planted: str, tmp_path: Path
) -> None:
    hidden = address_hash(1, "zyxwina.quorblatt@xn--bcher-kva.example")
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'unsubscribe')", [hidden])
    demo.execute("INSERT INTO merged_customers (shop_id, deleted_id, kept_id) VALUES (1, 5, %s)", [CUSTOMER])
    demo.execute("UPDATE purchases SET purchaser_id = 5, purchaser_email = NULL WHERE order_id = 9100")
    row_id = await request(demo, resources)
    assert outcome(demo, row_id) == "applied"
    [file] = (tmp_path / "runs").rglob("*.json")
    known = json.loads(file.read_text())
    [registry] = known["registries"]
    assert (registry["slug"], registry["customer_id"], registry["customer_email"]) == (planted, CUSTOMER, EMAIL)
    assert [item["notes"] for item in registry["items"]] == ["Zyxwina's"]
    assert [each["as"] for each in known["named_in"]] == [REGISTRANT]
    assert sorted(each["order_id"] for each in known["purchases"]) == [9100, 9105, GUEST_ORDER]
    assert [each["order_id"] for each in known["unmatched_purchases"]] == [9102]
    assert len(known["invitations"]) == len(known["reminders"]) == 2
    assert [each["reason"] for each in known["unsubscribed"]] == ["unsubscribe"]
    assert {each["action"] for each in known["actions"]} == {"registry.created", "item.added"}
    assert "someone@example.com" not in file.read_text()
    assert not {"access_code_hash", "token_hash", "search_text"} & set(registry)


async def test_file_has_what_is_known_by_the_address_alone(
    demo: Demo, resources: Resources, hugo: Shopper, tmp_path: Path
) -> None:
    """As the contact of another's registry, and by the links of mails."""
    slug = await hugo.create(title="Hugo")
    address = "zyxwina.quorblatt@xn--bcher-kva.example"
    demo.execute("UPDATE registries SET customer_email = %s WHERE slug = %s", [EMAIL, slug])
    for ip, action in (("192.0.2.7", "mail.unsubscribed"), ("192.0.2.8", "mail.suppression_lifted")):
        demo.execute(
            """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, ip)
               VALUES (1, 'link', %s, 'address', %s, %s)""",
            [action, address_hash(1, address).hex(), ip],
        )
    await request(demo, resources)
    [file] = (tmp_path / "runs").rglob("*.json")
    known = json.loads(file.read_text())
    assert [each["as"] for each in known["named_in"]] == [{"email": EMAIL}]
    assert [each["ip"] for each in known["actions"]] == ["192.0.2.7"]  # the other one is an administrator's


async def test_mail_has_a_link_to_the_file_and_nothing_about_the_customer(
    demo: Demo, resources: Resources, planted: str, mailbox: Mailbox, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await request(demo, resources)
    [received] = mailbox.messages
    [email] = demo.execute("SELECT email FROM shops WHERE id = 1").fetchone() or [""]
    assert received.parsed["To"] == email
    content = received.parsed.as_string().lower()
    assert not [name for name in map(str, (*NAMES, planted)) if name in content]
    [file] = (tmp_path / "runs").rglob("*.json")
    body = received.parsed.get_body(["plain"])
    assert body
    assert f"https://registry.wishcraft.example/files/{file.parent.name}/{file.name}\r\n" in body.get_content()
    assert not [name for name in map(str, NAMES) if name in str(file.relative_to(tmp_path))]
    assert (await client.get(f"/files/{file.parent.name}/{file.name}")).status_code == 404  # there is no password


async def test_mail_about_a_shop_without_an_address_goes_to_operations(
    demo: Demo, resources: Resources, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.execute("UPDATE shops SET email = '' WHERE id = 1")
    row_id = await request(demo, resources)
    [(failures,)] = demo.execute("SELECT failures FROM webhook_events WHERE id = %s", [row_id]).fetchall()
    assert failures[0]["reason"] == "configuration error"
    monkeypatch.setenv("OPS_EMAIL", "ops@wishcraft.example")
    settings.cache_clear()
    demo.execute("UPDATE webhook_events SET due_at = now() WHERE id = %s", [row_id])
    await handle(resources, demo)
    assert [each.parsed["To"] for each in mailbox.messages] == ["ops@wishcraft.example"]


async def test_mail_is_in_the_language_of_the_shop(
    demo: Demo, resources: Resources, planted: str, mailbox: Mailbox
) -> None:
    demo.execute('UPDATE shops SET settings = settings || \'{"language": "de"}\' WHERE id = 1')
    await request(demo, resources)
    [received] = mailbox.messages
    assert received.parsed["Subject"] == "Ein Kunde hat nach seinen Daten gefragt"


async def test_redaction_deletes_the_file(demo: Demo, resources: Resources, planted: str, tmp_path: Path) -> None:
    await request(demo, resources)
    other = {"shop_domain": SHOP, "customer": {"id": CUSTOMER + 1}, "orders_requested": []}
    await request(demo, resources, other)
    assert len(list((tmp_path / "runs").rglob("*.json"))) == 2
    await redact(demo, resources)
    [left] = (tmp_path / "runs").rglob("*.json")
    assert json.loads(left.read_text())["registries"] == []


async def test_without_the_mail_server_the_request_is_tried_again(
    demo: Demo, resources: Resources, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.UNAVAILABLE))
    row_id = await request(demo, resources)
    assert outcome(demo, row_id) is None
    demo.execute("UPDATE webhook_events SET due_at = now()")
    mailbox.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=0))
    await handle(resources, demo)
    assert (outcome(demo, row_id), len(mailbox.messages)) == ("applied", 1)


def request_of(customer: int) -> dict[str, Any]:
    return {"shop_domain": SHOP, "customer": {"id": customer}, "orders_requested": []}


async def test_request_whose_mail_is_refused_repeats_none_of_its_batch(
    demo: Demo, resources: Resources, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, send = [receive(demo, DATA_REQUEST, request_of(CUSTOMER + each)) for each in range(5)], resources.mailer.send

    async def refuse_the_third(mail: Mail) -> None:
        if f"-{ids[2]}@" in mail.message_id:
            raise MailRefused("refused")
        await send(mail)

    monkeypatch.setattr(resources.mailer, "send", refuse_the_third)
    assert await process(resources, HANDLERS, SHOP, ids) == {"applied": 4, None: 1}
    assert [outcome(demo, row_id) for row_id in ids] == ["applied", "applied", None, "applied", "applied"]
    sent = [str(each.parsed["Message-ID"]) for each in mailbox.messages]
    assert len(sent) == len(set(sent)) == 4


@pytest.mark.parametrize("error", [MailUnavailable, MailAcceptanceUnknown])
async def test_requests_after_one_that_the_mail_server_did_not_answer_do_not_wait_for_it(
    demo: Demo, resources: Resources, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    ids, tries = [receive(demo, DATA_REQUEST, request_of(CUSTOMER + each)) for each in range(5)], list[str]()

    async def send(mail: Mail) -> None:
        tries.append(mail.message_id)
        if len(tries) == 2:
            raise error("no answer")

    monkeypatch.setattr(resources.mailer, "send", send)
    async with resources.db.transaction() as session:
        assert await webhook_inbox.lock_if_due(session, ids[4], timedelta(minutes=1))  # by another consumer
    assert await process(resources, HANDLERS, SHOP, ids) == {"applied": 1, None: 3}
    assert len(tries) == 2
    rows = demo.execute("SELECT outcome, attempts, failures, due_at > now() FROM webhook_events ORDER BY id").fetchall()
    reasons = [[each["reason"] for each in failures] for _, _, failures, _ in rows]
    assert reasons == [[], [in_words(error(""))], ["mail unavailable"], ["mail unavailable"], []]
    assert [(handled, attempts) for handled, attempts, *_ in rows[2:]] == [(None, 0)] * 3
    assert all(is_later for *_, is_later in rows[1:])
    demo.execute("UPDATE webhook_events SET due_at = now()")
    await process(resources, HANDLERS, SHOP, ids)
    assert [outcome(demo, row_id) for row_id in ids] == ["applied"] * 5


async def test_request_that_another_consumer_hands_over_is_left_to_it(
    demo: Demo, resources: Resources, mailbox: Mailbox, tmp_path: Path
) -> None:
    row_id = receive(demo, DATA_REQUEST, request_of(CUSTOMER))
    async with resources.db.transaction() as session:
        assert await webhook_inbox.lock_if_due(session, row_id, timedelta(minutes=1))
    assert await process(resources, HANDLERS, SHOP, [row_id]) == {}
    assert not mailbox.messages
    assert not (tmp_path / "runs").exists()
    demo.execute("UPDATE webhook_events SET due_at = now()")  # it died
    await process(resources, HANDLERS, SHOP, [row_id])
    assert (outcome(demo, row_id), len(mailbox.messages)) == ("applied", 1)


@pytest.mark.parametrize("first", [DATA_REQUEST, "customers/redact"])
async def test_nothing_is_handed_over_of_a_person_whose_redaction_is_in_the_same_batch(
    demo: Demo, resources: Resources, mailbox: Mailbox, planted: str, tmp_path: Path, first: str
) -> None:
    payloads = {DATA_REQUEST: REQUEST, "customers/redact": REDACT}
    ids = {topic: receive(demo, topic, payloads[topic]) for topic in sorted(payloads, key=lambda topic: topic != first)}
    await process(resources, HANDLERS, SHOP, sorted(ids.values()))
    assert outcome(demo, ids["customers/redact"]) == "applied"
    assert outcome(demo, ids[DATA_REQUEST]) == "ignored"
    assert not mailbox.messages
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").rglob("*.json")) == []
    assert traces_in_postgresql(demo, planted, *NAMES) == set()


@pytest.mark.parametrize(
    ("topic", "payload", "is_held"),
    [
        ("customers/redact", REDACT, True),
        ("customers/redact", REDACT | {"customer": {"email": EMAIL}, "orders_to_redact": []}, True),
        ("customers/redact", {"shop_domain": SHOP, "customer": {"id": 5}}, False),
        ("customers/redact", {"shop_domain": "sakura-living.myshopify.com", "customer": {"id": CUSTOMER}}, False),
        ("customers/redact", [], False),
        ("shop/redact", {"shop_domain": SHOP}, True),
    ],
)
async def test_while_an_erasure_waits_nothing_is_handed_over_of_whom_it_is_about(
    demo: Demo, resources: Resources, mailbox: Mailbox, topic: str, payload: object, is_held: bool
) -> None:
    redaction = receive(demo, topic, payload)
    row_id = receive(demo, DATA_REQUEST, REQUEST)
    counts = await process(resources, HANDLERS, SHOP, [row_id])
    assert (outcome(demo, row_id), len(mailbox.messages)) == ((None, 0) if is_held else ("applied", 1))
    if is_held:
        assert counts == {None: 1}
        demo.execute("UPDATE webhook_events SET outcome = 'dead', handled_at = now() WHERE id = %s", [redaction])
        await process(resources, HANDLERS, SHOP, [row_id])
        [(handled, attempts)] = demo.execute("SELECT outcome, attempts FROM webhook_events WHERE id = %s", [row_id])
        assert (handled, attempts, len(mailbox.messages)) == ("applied", 0, 1)


async def test_erasure_that_comes_while_a_file_is_written_waits_and_deletes_it(
    demo: Demo, resources: Resources, planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id, writing, waits = receive(demo, DATA_REQUEST, REQUEST), asyncio.Event(), asyncio.Event()
    collect = people.collect

    async def collect_slowly(*arguments: Any) -> Any:
        known = await collect(*arguments)
        writing.set()
        await waits.wait()
        return known

    monkeypatch.setattr("wishcraft.services.privacy.hand_over.people.collect", collect_slowly)
    handing = asyncio.create_task(process(resources, HANDLERS, SHOP, [row_id]))
    await writing.wait()
    erasing = asyncio.create_task(process(resources, HANDLERS, SHOP, [receive(demo, "customers/redact", REDACT)]))
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await wait_until(lambda: demo.execute(blocked).fetchone() == (1,))
    waits.set()
    await asyncio.gather(handing, erasing)
    await handle(resources, demo)
    assert list((tmp_path / "runs").rglob("*.json")) == []
    assert traces_in_postgresql(demo, planted, *NAMES) == set()


@pytest.mark.parametrize("asked_by", ["id", "email", "phone", "orders"])
@pytest.mark.parametrize("erased_by", ["id", "email", "phone", "orders"])
async def test_file_is_found_by_whatever_of_its_person_the_redaction_names(
    demo: Demo, resources: Resources, tmp_path: Path, asked_by: str, erased_by: str
) -> None:
    everything = {"orders": [GUEST_ORDER], **REDACT["customer"]}  # type: ignore[dict-item]

    def naming(field: str, *fields: str) -> dict[str, Any]:
        customer = {name: everything[name] for name in fields if name != "orders"}
        return {"shop_domain": SHOP, "customer": customer, field: everything["orders"] if "orders" in fields else []}

    await redact(demo, resources, naming("orders_requested", asked_by, erased_by), DATA_REQUEST)
    assert len(list((tmp_path / "runs").rglob("*.json"))) == 1
    await redact(demo, resources, naming("orders_to_redact", erased_by))
    assert list((tmp_path / "runs").rglob("*.json")) == []


async def test_file_of_another_customer_that_names_the_person_is_deleted_too(
    demo: Demo, resources: Resources, planted: str, tmp_path: Path
) -> None:
    [(owner,)] = demo.execute("SELECT customer_id FROM registries WHERE title = 'Hugo'")
    await redact(demo, resources, request_of(owner), DATA_REQUEST)
    [file] = (tmp_path / "runs").rglob("*.json")
    assert "Zyxwina" in file.read_text()
    await redact(demo, resources)
    assert list((tmp_path / "runs").rglob("*.json")) == []
