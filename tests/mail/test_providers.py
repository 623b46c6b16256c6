"""The contract of `Mailer` over each provider: SMTP, Amazon SES and SendGrid, the latter two simulated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from deployments.sandbox.mail_providers import sendgrid, ses
from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind
from deployments.sandbox.mailbox import smtp
from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    MailAcceptanceUnknown,
    MailPostponed,
    MailRefused,
    MailUnavailable,
    SenderRefused,
)
from wishcraft.mail.mailer import InlineImage, Mail, Mailer
from wishcraft.mail.providers.sendgrid import SendGridMailer
from wishcraft.mail.providers.ses import SesMailer
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.urls.mail import parse_sendgrid, parse_ses, parse_smtp

SENDER = "registry@wishcraft.example"
TOKEN = "r-1f-2a-abcdefghijklmnop"
UNSUBSCRIBE = "https://registry.wishcraft.example/api/unsubscribe/" + "x" * 96
NAMES = ("smtp", "ses", "sendgrid")


def mail(to: str = "emma@example.com", **changes: Any) -> Mail:
    fields = {
        "recipient": to,
        "sender_name": "Maple & Pine",
        "subject": "Emma's Wedding is tomorrow",
        "text": "Hello",
        "html": '<p>Hello</p><img src="cid:gift">',
        "message_id": "<one@maple-and-pine.myshopify.com>",
        "unsubscribe_url": UNSUBSCRIBE,
        "reply_to": "answers@maple-and-pine.example",
        "reference": TOKEN,
    }
    return Mail(**{**fields, **changes})


class Provider(NamedTuple):
    """A provider under test: a mailer, and how to inject its faults."""

    name: str
    mailer: Mailer
    set_fault: Callable[[str, int | None], None]


def make_mailer(name: str, url: SecretStr, seconds: float = PATIENCE_SECONDS, **options: Any) -> Mailer:
    timeout = httpx.Timeout(seconds)
    if name == "ses":
        return SesMailer(parse_ses(url), SENDER, timeout, **options)
    if name == "sendgrid":
        return SendGridMailer(parse_sendgrid(url), SENDER, timeout, **options)
    return SmtpMailer(parse_smtp(url), SENDER, bounce_address="bounces@wishcraft.example", timeout=seconds)


@pytest.fixture(params=NAMES)
async def provider(
    request: pytest.FixtureRequest,
    mail_urls: dict[str, SecretStr],
    mailbox: Mailbox,
    mailbox_server: tuple[str, FastAPI],
) -> AsyncIterator[Provider]:
    name, state = request.param, mailbox_server[1].state

    def set_fault(kind: str, remaining: int | None) -> None:
        if name == "smtp":
            mailbox.faults.set(Fault(FaultKind[kind.upper()], "emma@example.com", remaining))
        else:
            fault = ProviderFault(ProviderFaultKind[kind.upper()], "emma@example.com", remaining)
            (state.ses if name == "ses" else state.sendgrid).faults.set(fault)

    mailer = make_mailer(name, mail_urls[name])
    yield Provider(name, mailer, set_fault)
    await mailer.close()


async def test_an_accepted_mail_arrives_as_it_was_composed(provider: Provider, mailbox: Mailbox) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(64)
    await provider.mailer.send(mail(subject="Zoës Hochzeit: 結婚 🎁", inline_images=[InlineImage("gift", png)]))
    received = mailbox.messages[0]
    message = received.parsed
    assert received.recipients == ["emma@example.com"]
    assert message["From"] == f"Maple & Pine <{SENDER}>"
    assert message["Reply-To"].addresses[0].addr_spec == "answers@maple-and-pine.example"
    assert message["Subject"] == "Zoës Hochzeit: 結婚 🎁"
    assert message["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text
    assert html
    assert (text.get_content().strip(), "cid:gift" in html.get_content()) == ("Hello", True)
    [picture] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert (picture.get_content(), picture["Content-ID"]) == (png, "<gift>")


async def test_a_shops_own_sender_replaces_that_of_the_app(provider: Provider, mailbox: Mailbox) -> None:
    await provider.mailer.send(mail(sender="gifts@maple-and-pine.example"))
    assert mailbox.messages[0].parsed["From"] == "Maple & Pine <gifts@maple-and-pine.example>"


async def test_a_sender_that_is_not_verified_is_no_fault_of_the_mail(
    mail_urls: dict[str, SecretStr], mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.REJECT))  # a relay says so by its policy
    for name in NAMES:
        mailer = make_mailer(name, mail_urls[name])
        with pytest.raises(SenderRefused, match="sender"):
            await mailer.send(mail(sender="gifts@elsewhere.example"))
        await mailer.close()
    assert not mailbox.messages


async def test_the_message_id_is_ours_unless_ses_replaces_it(provider: Provider, mailbox: Mailbox) -> None:
    await provider.mailer.send(mail())
    found = mailbox.messages[0].parsed["Message-ID"]
    assert (found == mail().message_id) is (provider.name != "ses")
    assert provider.name != "ses" or found.endswith("@eu-central-1.amazonses.com>")


async def test_the_domain_of_an_address_may_be_beyond_ascii(provider: Provider, mailbox: Mailbox) -> None:
    await provider.mailer.send(mail("Jo@bücher.example"))
    assert mailbox.messages[0].recipients == ["jo@xn--bcher-kva.example"]


async def test_a_local_part_beyond_ascii_is_sent_by_smtp_alone(provider: Provider, mailbox: Mailbox) -> None:
    if provider.name == "smtp":
        await provider.mailer.send(mail("zoë@example.com"))
        assert mailbox.messages[0].recipients == ["zoë@example.com"]
        return
    with pytest.raises(MailRefused, match="no address that is not ASCII") as caught:
        await provider.mailer.send(mail("zoë@example.com"))
    assert caught.type is MailRefused
    assert not mailbox.messages


async def test_mails_are_sent_concurrently(provider: Provider, mailbox: Mailbox) -> None:
    await asyncio.gather(*(provider.mailer.send(mail(f"guest{number}@example.com")) for number in range(20)))
    assert len({received.recipients[0] for received in mailbox.messages}) == 20


async def test_a_mail_over_the_size_limit_is_refused_for_good(
    provider: Provider, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2**16  # the true ones would take seconds
    monkeypatch.setattr(smtp, "MAX_BYTES", limit)
    monkeypatch.setattr(ses, "MAX_RAW_BYTES", limit)
    monkeypatch.setattr(sendgrid, "MAX_BYTES", limit)
    await provider.mailer.send(mail(inline_images=[InlineImage("gift", bytes(limit // 2))]))
    mailbox.messages.clear()
    with pytest.raises(MailRefused) as caught:
        await provider.mailer.send(mail(inline_images=[InlineImage("gift", bytes(limit))]))
    assert caught.type is MailRefused
    assert not mailbox.messages


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("refuse", (AddressRefused, AddressRefused, AddressRefused)),
        ("reject", (MailRefused, MailRefused, MailRefused)),
        ("unverified", (None, SenderRefused, SenderRefused)),
        ("unavailable", (None, MailUnavailable, MailUnavailable)),
        ("defer", (MailPostponed, None, None)),
        ("fail", (None, MailAcceptanceUnknown, MailAcceptanceUnknown)),
        ("drop", (MailAcceptanceUnknown, MailAcceptanceUnknown, MailAcceptanceUnknown)),
    ],
)
async def test_each_fault_has_its_error_without_the_address(
    provider: Provider, mailbox: Mailbox, kind: str, expected: tuple[type[Exception] | None, ...]
) -> None:
    error = expected[NAMES.index(provider.name)]
    if error is None:
        return  # the provider has no such fault
    provider.set_fault(kind, 1)
    with pytest.raises(error) as caught:
        await provider.mailer.send(mail())
    assert caught.type is error
    assert "emma" not in str(caught.value)
    assert len(mailbox.messages) == (kind in {"drop", "fail"})
    await provider.mailer.send(mail("hugo@example.com"))  # the others are not affected
    assert mailbox.messages[-1].recipients == ["hugo@example.com"]


async def test_a_provider_that_hangs_leaves_the_outcome_unknown(
    provider: Provider, mailbox: Mailbox, mail_urls: dict[str, SecretStr]
) -> None:
    provider.set_fault("hang", 1)
    hasty = make_mailer(provider.name, mail_urls[provider.name], seconds=3)
    with pytest.raises(MailAcceptanceUnknown):
        await hasty.send(mail())
    await hasty.close()
    await provider.mailer.send(mail())
    assert len(mailbox.messages) == 1


@pytest.mark.parametrize("name", ["ses", "sendgrid"])
async def test_a_throttled_mail_is_sent_again_after_the_pause(
    name: str, mail_urls: dict[str, SecretStr], mailbox: Mailbox, mailbox_server: tuple[str, FastAPI]
) -> None:
    faults = getattr(mailbox_server[1].state, name).faults
    faults.set(ProviderFault(ProviderFaultKind.TOO_MANY_REQUESTS, remaining=2))
    mailer = make_mailer(name, mail_urls[name])
    await mailer.send(mail())
    assert len(mailbox.messages) == 1
    assert not faults
    await mailer.close()


@pytest.mark.parametrize("name", ["ses", "sendgrid"])
async def test_a_pause_longer_than_a_send_waits_means_unavailable(
    name: str, mail_urls: dict[str, SecretStr], mailbox: Mailbox, mailbox_server: tuple[str, FastAPI]
) -> None:
    getattr(mailbox_server[1].state, name).faults.set(ProviderFault(ProviderFaultKind.TOO_MANY_REQUESTS))
    mailer = make_mailer(name, mail_urls[name], max_pause=-1.0)
    with pytest.raises(MailUnavailable, match="throttles"):
        await mailer.send(mail())
    assert not mailbox.messages
    await mailer.close()


async def test_a_provider_that_cannot_be_reached_is_unavailable() -> None:
    for name, url in (
        ("smtp", "smtp://127.0.0.1:1"),
        ("ses", "ses://a:b@eu-central-1?endpoint=http://127.0.0.1:1"),
        ("sendgrid", "sendgrid://a@?endpoint=http://127.0.0.1:1"),
    ):
        mailer = make_mailer(name, SecretStr(url))
        with pytest.raises(MailUnavailable, match="cannot be reached"):
            await mailer.send(mail())
        await mailer.close()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ses", ("AKIA", "AKIB")),
        ("ses", ("secret", "sacred")),
        ("ses", ("eu-central-1", "eu-west-1")),
        ("ses", ("set=wishcraft", "set=other")),
        ("sendgrid", ("SG.", "SX.")),
    ],
)
async def test_wrong_credentials_reject_the_sender_without_showing_them(
    name: str, wrong: tuple[str, str], mail_urls: dict[str, SecretStr], mailbox: Mailbox
) -> None:
    mailer = make_mailer(name, SecretStr(mail_urls[name].get_secret_value().replace(*wrong)))
    with pytest.raises(SenderRefused) as caught:
        await mailer.send(mail())
    assert "sandbox" not in str(caught.value)
    assert not mailbox.messages
    await mailer.close()


async def test_the_reference_goes_along_in_the_way_of_each_provider(provider: Provider, mailbox: Mailbox) -> None:
    await provider.mailer.send(mail())
    await provider.mailer.send(mail(reference=None))
    with_one, without = mailbox.messages
    if provider.name == "smtp":
        assert with_one.sender == f"bounces+{TOKEN}@wishcraft.example"
        assert without.sender == SENDER
    if provider.name == "ses":
        assert with_one.parsed["X-WishCraft-Mail"] == TOKEN
        assert without.parsed["X-WishCraft-Mail"] is None


async def test_a_process_without_a_sender_says_which_setting_is_missing(mail_urls: dict[str, SecretStr]) -> None:
    timeout = httpx.Timeout(1)
    for mailer in (
        SmtpMailer(parse_smtp(mail_urls["smtp"]), None),
        SesMailer(parse_ses(mail_urls["ses"]), None, timeout),
        SendGridMailer(parse_sendgrid(mail_urls["sendgrid"]), None, timeout),
    ):
        with pytest.raises(ConfigurationError, match="MAIL_FROM"):
            await mailer.send(mail())
        await mailer.close()
