"""Handing over what is known about a customer: a file for those who run WishCraft, and a mail that says nothing."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import Connection

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.api import SHOP
from tests.support.erased_person import CUSTOMER, EMAIL, GUEST_ORDER, NAMES, REDACT, REGISTRANT, redact
from wishcraft.domain.addresses import address_hash
from wishcraft.resources import Resources

pytestmark = pytest.mark.usefixtures("worker_environment")
Demo = Connection[tuple[Any, ...]]
REQUEST = REDACT | {"orders_requested": [GUEST_ORDER], "data_request": {"id": 9999}}


async def request(demo: Demo, resources: Resources, payload: object = REQUEST) -> int:
    return await redact(demo, resources, payload, "customers/data_request")


def outcome(demo: Demo, row_id: int) -> str | None:
    row = demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone()
    assert row
    return None if row[0] is None else str(row[0])


async def test_file_has_all_that_is_known_about_the_customer_and_nothing_of_others(
    demo: Demo, resources: Resources, planted: str, tmp_path: Path
) -> None:
    hidden = address_hash(1, "zyxwina.quorblatt@xn--bcher-kva.example")
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'unsubscribe')", [hidden])
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


async def test_redaction_deletes_the_file(demo: Demo, resources: Resources, planted: str, tmp_path: Path) -> None:
    assert planted
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
    mailbox.set_fault(Fault(FaultKind.AWAY))
    row_id = await request(demo, resources)
    assert outcome(demo, row_id) is None
