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
    assert not mailbox.messages
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


def test_what_comes_is_listed_the_newest_first_and_shown_whole(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    smtp.send_message(new_message("One"))
    smtp.send_message(new_message("Two"))
    listed = page.get("/messages").json()
    assert [(each["subject"], each["to"]) for each in listed] == [
        (name, ["emma@example.com"]) for name in ("Two", "One")
    ]
    whole = page.get(f"/messages/{listed[0]['number']}").json()
    assert (whole["text"].strip(), whole["html"].strip()) == ("Plain", "<p>Rich</p>")
    assert ["Subject", "Two"] in whole["headers"]


def test_an_alert_is_a_message_to_ops_with_an_id_of_its_own(page: httpx.Client) -> None:
    for number in (1, 2):
        page.post("/alerts", json={"text": f"cache-warm: Failed\nRun {number}"}).raise_for_status()
    listed = page.get("/messages").json()
    assert {(each["subject"], *each["to"]) for each in listed} == {("cache-warm: Failed", "ops@wishcraft.example")}
    assert len({each["message_id"] for each in listed} - {"None"}) == 2


def test_pictures_that_came_along_are_seen(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    message = new_message()
    *_, html = message.iter_parts()
    html.set_content('<img src="cid:plot">', subtype="html")
    html.add_related(b"png", "image", "png", cid="<plot>")
    smtp.send_message(message)
    [listed] = page.get("/messages").json()
    shown = page.get(f"/messages/{listed['number']}").json()["html"]
    assert shown.strip() == '<img src="data:image/png;base64,cG5n">'


def test_the_list_can_be_narrowed_and_emptied(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    smtp.send_message(new_message())
    assert len(page.get("/messages", params={"to": "emma@example.com"}).json()) == 1
    assert page.get("/messages", params={"to": "nobody@example.com"}).json() == []
    page.delete("/messages")
    assert page.get("/messages").json() == []


def test_a_fault_strikes_as_often_as_it_is_told_and_only_where(page: httpx.Client, smtp: smtplib.SMTP) -> None:
    page.put("/faults", json={"kind": "refuse", "address": "Emma@example.com", "remaining": 1})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.send_message(new_message())
    assert page.get("/faults").json()["faults"] == []
    smtp.send_message(new_message())
    page.put("/faults", json={"kind": "defer", "address": "hugo@example.com"})
    smtp.send_message(new_message())
    assert len(page.get("/messages").json()) == 2


def test_a_fault_can_be_switched_off(page: httpx.Client) -> None:
    assert len(page.put("/faults", json={"kind": "hang"}).json()) == 1
    assert page.put("/faults", json={"kind": "hang", "remaining": 0}).json() == []


def test_the_page_shows_html_where_it_can_do_nothing(page: httpx.Client) -> None:
    html = page.get("/").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in html
    assert "innerHTML" not in html


@pytest.mark.parametrize("path", ["/messages/999999", "/nowhere"])
def test_what_is_not_there_is_404(page: httpx.Client, path: str) -> None:
    assert page.get(path).status_code == 404


def test_the_mail_is_still_there_after_a_restart_unless_it_was_thrown_away(tmp_path: Path) -> None:
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


def test_no_more_mail_is_kept_than_is_shown(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail")
    for _ in range(MAX_MESSAGES + 1):
        mailbox.add("a@b.example", ["emma@example.com"], b"")
    assert Mailbox(tmp_path / "mail").messages == mailbox.messages
    assert len((tmp_path / "mail").read_text().splitlines()) == MAX_MESSAGES
