"""`SmtpMailer` against a real SMTP server."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from email import message_from_bytes, message_from_string
from email.header import decode_header, make_header
from email.policy import SMTPUTF8
from email.utils import getaddresses
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import (
    AddressRefused,
    MailAcceptanceUnknown,
    MailPostponed,
    MailRefused,
    MailUnavailable,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.urls.mail import parse_smtp

SENDER = "registry@wishcraft.example"
LINES = b"\r\nBcc: x@y.example\r\n\r\nbody"


def mail(to: str = "emma@example.com", **changes: Any) -> Mail:
    fields = {
        "recipient": to,
        "sender_name": "Maple & Pine",
        "subject": "Emma's Wedding is tomorrow",
        "text": "Hello",
        "html": "<p>Hello</p>",
        "message_id": "<one@maple-and-pine.myshopify.com>",
        "unsubscribe_url": "https://registry.wishcraft.example/api/unsubscribe/" + "x" * 96,
    }
    return Mail(**{**fields, **changes})


@pytest.fixture
async def mailer(mail_settings: dict[str, Any]) -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(parse_smtp(mail_settings["mail_url"]), SENDER, timeout=PATIENCE_SECONDS)
    yield mailer
    await mailer.close()


async def test_mail_has_one_click_unsubscribe_headers(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await mailer.send(mail())
    message = mailbox.messages[0].parsed
    assert message["List-Unsubscribe"] == f"<{mail().unsubscribe_url}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


async def test_machine_read_headers_are_on_one_line_and_never_encoded(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    message_id = "<a0c94820-f435-4704-b21c-d2bf53d8d0e3@a-shop-with-a-very-long-name.myshopify.com>"
    await mailer.send(mail(message_id=message_id))
    lines = mailbox.messages[0].content.split(b"\r\n")
    assert f"Message-ID: {message_id}".encode() in lines
    assert f"List-Unsubscribe: <{mail().unsubscribe_url}>".encode() in lines


async def test_message_has_the_sender_name_and_the_given_message_id(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await mailer.send(mail())
    received = mailbox.messages[0]
    assert (received.sender, received.recipients) == (SENDER, ["emma@example.com"])
    assert received.parsed["From"] == f"Maple & Pine <{SENDER}>"
    assert received.parsed["Message-ID"] == mail().message_id
    assert received.parsed["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in received.parsed.iter_parts()] == ["text/plain", "text/html"]


async def test_names_and_subjects_cannot_inject_headers(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await mailer.send(mail(sender_name='A "B"\r\nBcc: x@y.example', subject="Fête\r\nBcc: x@y.example"))
    message = mailbox.messages[0].parsed
    assert message["Bcc"] is None
    assert message["Subject"] == "Fête Bcc: x@y.example"
    assert message["From"].addresses[0].display_name == 'A "B" Bcc: x@y.example'


async def test_long_texts_keep_their_spaces_and_marks(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    subject = "Dans 7 jours : Mariage d\u2019Élodie et François à l\u2019église Saint-Étienne le 14 août, reçu"
    name = 'Lumière, "Maison" d\u2019Élodie et François (à Paris), près de l\u2019Étoile'
    await mailer.send(mail(subject=subject, sender_name=name, reply_to="gifts@lumiere.example"))
    head = message_from_bytes(mailbox.messages[0].content)
    assert str(make_header(decode_header(head["Subject"]))) == subject
    for header, address in (("From", SENDER), ("Reply-To", "gifts@lumiere.example")):
        [(shown, spec)] = getaddresses([head[header]])
        assert (str(make_header(decode_header(shown))), spec) == (name, address)
    lines = mailbox.messages[0].content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert max(len(line) for line in lines if b"=?" in line) <= 76  # RFC 2047, section 2


@pytest.mark.parametrize("recipient", ["emma@example.com", "émma@example.com"])
async def test_encoded_words_in_texts_of_people_are_not_decoded(
    mailer: SmtpMailer, mailbox: Mailbox, recipient: str
) -> None:
    hidden = f"=?utf-8?b?{b64encode(b'x' + LINES).decode()}?="
    await mailer.send(mail(recipient, sender_name=hidden, subject=f"Tomorrow: {hidden}"))
    message = mailbox.messages[0].parsed
    assert message["Bcc"] is None
    assert message["Subject"] == f"Tomorrow: {hidden}".replace("=?", "= ?")
    assert message["From"].addresses[0].display_name == hidden.replace("=?", "= ?")


@pytest.mark.parametrize("recipient", ["emma@example.com", "zoë@example.com"])
@pytest.mark.parametrize(
    "name",
    ["Maple, Pine and Oak: gifts for weddings, babies and more (since 1890) of Portland", "Zoës " * 20 + ", Graz"],
)
async def test_sender_with_a_long_name_has_one_address(
    mailer: SmtpMailer, mailbox: Mailbox, recipient: str, name: str
) -> None:
    await mailer.send(mail(recipient, sender_name=name, reply_to="shop@example.com"))
    headers = message_from_string(mailbox.messages[0].content.decode(), policy=SMTPUTF8)
    for header, address in (("From", SENDER), ("Reply-To", "shop@example.com")):
        assert [each.addr_spec for each in headers[header].addresses] == [address]
        assert headers[header].addresses[0].display_name.replace(" ", "") == name.replace(" ", "")


async def test_name_that_is_longer_than_a_line_is_cut(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await mailer.send(mail("zoë@example.com", sender_name="店" * 500))
    assert max(map(len, mailbox.messages[0].content.split(b"\r\n"))) < 998


async def test_address_beyond_ascii_is_delivered(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await mailer.send(mail("zoë@example.com"))
    assert mailbox.messages[0].recipients == ["zoë@example.com"]


async def test_mails_are_sent_concurrently(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    await asyncio.gather(*(mailer.send(mail(f"guest{number}@example.com")) for number in range(8)))
    assert len({received.recipients[0] for received in mailbox.messages}) == 8


@pytest.mark.parametrize(
    ("kind", "error", "codes"),
    [
        (FaultKind.DEFER, MailPostponed, "451 4.7.1"),
        (FaultKind.REFUSE, AddressRefused, "550 5.1.1"),
        (FaultKind.REJECT, MailRefused, "554 5.7.1"),
    ],
)
async def test_refusal_shows_the_reply_codes_and_never_the_address(
    mailer: SmtpMailer, mailbox: Mailbox, kind: FaultKind, error: type[Exception], codes: str
) -> None:
    mailbox.faults.set(Fault(kind, "emma@example.com"))
    with pytest.raises(error) as caught:
        await mailer.send(mail())
    assert caught.type is error
    assert codes in str(caught.value)
    assert "emma" not in str(caught.value)
    await mailer.send(mail("hugo@example.com"))  # on the same connection
    assert [received.recipients for received in mailbox.messages] == [["hugo@example.com"]]


async def test_lost_reply_means_outcome_unknown(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    mailbox.faults.set(Fault(FaultKind.DROP, remaining=1))
    with pytest.raises(MailAcceptanceUnknown):
        await mailer.send(mail())
    assert len(mailbox.messages) == 1
    await mailer.send(mail())
    assert len(mailbox.messages) == 2


async def test_server_that_hangs_means_outcome_unknown(mailer: SmtpMailer, mailbox: Mailbox) -> None:
    mailbox.faults.set(Fault(FaultKind.HANG, remaining=1))
    mailer._timeout = 3
    with pytest.raises(MailAcceptanceUnknown):
        await mailer.send(mail())
    mailer._timeout = PATIENCE_SECONDS
    await mailer.send(mail())
    assert len(mailbox.messages) == 1


async def test_unreachable_server_raises_mail_unavailable() -> None:
    mailer = SmtpMailer(parse_smtp(SecretStr("smtp://127.0.0.1:1")), SENDER)
    with pytest.raises(MailUnavailable, match="cannot be reached"):
        await mailer.send(mail())


def test_repr_of_a_mail_shows_neither_address_nor_content() -> None:
    shown = repr(mail())
    assert "emma" not in shown.lower()
    assert "unsubscribe" not in shown.replace("unsubscribe_url", "")
