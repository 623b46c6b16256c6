import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from deployments.sandbox.mailbox.messages import MAX_MESSAGES, Mailbox


@pytest.fixture
def page(mailbox_server: tuple[str, FastAPI], mailbox: Mailbox) -> Iterator[httpx.Client]:
    """An HTTP client of an empty mailbox."""
    with httpx.Client(base_url=mailbox_server[0]) as client:
        yield client


@pytest.fixture
def smtp(mailbox_server: tuple[str, FastAPI]) -> Iterator[smtplib.SMTP]:
    """An SMTP client."""
    with smtplib.SMTP("127.0.0.1", mailbox_server[1].state.smtp_port, timeout=10) as client:
        yield client


def new_message(subject: str = "Grüße") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Shop <a@b.example>", "emma@example.com", subject
    message.set_content("Plain")
    message.add_alternative("<p>Rich</p>", subtype="html")
    return message


def test_messages_are_listed_newest_first_and_shown_in_full(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    smtp.send_message(new_message("One"))
    smtp.send_message(new_message("Two"))
    listed = page.get("/messages").json()
    assert [(each["subject"], each["to"]) for each in listed] == [
        (name, ["emma@example.com"]) for name in ("Two", "One")
    ]
    whole = page.get(f"/messages/{listed[0]['number']}").json()
    assert (whole["text"].strip(), whole["html"].strip()) == ("Plain", "<p>Rich</p>")
    assert ["Subject", "Two"] in whole["headers"]


def test_alert_becomes_a_message_to_ops_with_a_unique_id(page: httpx.Client) -> None:
    for number in (1, 2):
        page.post("/alerts", json={"text": f"cache-warm: Failed\nRun {number}"}).raise_for_status()
    listed = page.get("/messages").json()
    assert {(each["subject"], *each["to"]) for each in listed} == {("cache-warm: Failed", "ops@wishcraft.example")}
    assert len({each["message_id"] for each in listed} - {"None"}) == 2


@pytest.mark.parametrize("text", ["", "\n", "one\rtwo", "one\x0btwo\u2028three", "one\r\ntwo"])
def test_alert_of_any_lines_becomes_a_message(page: httpx.Client, text: str) -> None:
    page.post("/alerts", json={"text": text}).raise_for_status()
    [listed] = page.get("/messages").json()
    assert listed["subject"] == (text.splitlines() or [""])[0]


def test_inline_images_are_embedded(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    message = new_message()
    *_, html = message.iter_parts()
    html.set_content('<img src="cid:plot">', subtype="html")
    html.add_related(b"png", "image", "png", cid="<plot>")
    smtp.send_message(message)
    [listed] = page.get("/messages").json()
    shown = page.get(f"/messages/{listed['number']}").json()["html"]
    assert shown.strip() == '<img src="data:image/png;base64,cG5n">'


def test_list_can_be_filtered_and_emptied(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    smtp.send_message(new_message())
    assert len(page.get("/messages", params={"to": "emma@example.com"}).json()) == 1
    assert page.get("/messages", params={"to": "nobody@example.com"}).json() == []
    page.delete("/messages")
    assert page.get("/messages").json() == []


def test_fault_applies_to_its_address_and_for_the_given_number_of_times(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    page.put("/faults", json={"kind": "refuse", "address": "Emma@example.com", "remaining": 1})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.send_message(new_message())
    assert page.get("/faults").json()["faults"] == []
    smtp.send_message(new_message())
    page.put("/faults", json={"kind": "defer", "address": "hugo@example.com"})
    smtp.send_message(new_message())
    assert len(page.get("/messages").json()) == 2


def test_fault_can_be_removed(page: httpx.Client) -> None:
    assert len(page.put("/faults", json={"kind": "hang"}).json()) == 1
    assert page.put("/faults", json={"kind": "hang", "remaining": 0}).json() == []


def test_page_shows_html_only_in_a_sandboxed_frame(page: httpx.Client) -> None:
    html = page.get("/").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in html
    assert "innerHTML" not in html


@pytest.mark.parametrize("path", ["/messages/999999", "/nowhere"])
def test_unknown_path_is_404(page: httpx.Client, path: str) -> None:
    assert page.get(path).status_code == 404


def test_messages_survive_a_restart_unless_deleted(tmp_path: Path) -> None:
    file = tmp_path / "mail"
    mailbox = Mailbox(file)
    for subject in ("One", "Two"):
        mailbox.add("a@b.example", ["emma@example.com"], new_message(subject).as_bytes() + b"\xff\x85")
    with file.open("a") as torn:
        torn.write('{"number": 3')
    again = Mailbox(file)
    assert again.messages == mailbox.messages
    again.add("a@b.example", ["emma@example.com"], b"")
    assert [each.number for each in Mailbox(file).messages] == [1, 2, 3]
    assert file.stat().st_mode & 0o777 == 0o600
    again.clear()
    assert not Mailbox(file).messages


def test_file_keeps_no_more_than_the_maximum_of_messages(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail")
    for _ in range(MAX_MESSAGES + 1):
        mailbox.add("a@b.example", ["emma@example.com"], b"")
    assert Mailbox(tmp_path / "mail").messages == mailbox.messages
    assert len((tmp_path / "mail").read_text().splitlines()) == MAX_MESSAGES
