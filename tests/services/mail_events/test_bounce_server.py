"""The LMTP server for bounces, over a real connection."""

import asyncio
import logging
import smtplib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from deployments.sandbox.mailbox.app import create_app as create_mailbox
from deployments.sandbox.mailbox.messages import Fault, FaultKind
from tests.support.aliases import Demo
from tests.support.dsn import dsn
from tests.support.http_server import served
from tests.support.outages import postgresql_unavailable
from tests.support.waiting import wait_until
from wishcraft.domain.mail_references import MailKind, MailReference, make_token
from wishcraft.errors import ConfigurationError
from wishcraft.resources import Resources
from wishcraft.services.mail.references import reference_keys
from wishcraft.services.mail_events import bounce_server
from wishcraft.services.mail_events.bounce_server import MAX_BYTES, MAX_OF_A_CLIENT, MAX_UNANSWERED, serve_bounces
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings

MAPLE = "maple-and-pine.myshopify.com"
BOUNCE = dsn("failed", "5.1.1")


@pytest.fixture
async def port(resources: Resources, settings: Settings, demo: Demo) -> AsyncIterator[int]:
    """The port of a server."""
    demo.execute("TRUNCATE webhook_events; DELETE FROM email_suppressions; DELETE FROM reminders")
    async with serve_bounces(resources, settings.model_copy(update={"bounce_url": "lmtp://127.0.0.1:0"})) as port:
        assert port
        yield port


@pytest.fixture
def address(settings: Settings, demo: Demo) -> str:
    """The return path of a reminder that was sent."""
    [[row_id]] = demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at)
           SELECT shop_id, id, '7_days', '2026-12-24', 'jo@example.com', 'sent', now() FROM registries
           WHERE shop_id = 1 ORDER BY id LIMIT 1 RETURNING id"""
    ).fetchall()
    token = make_token(MailReference(MailKind.REMINDER, 1, row_id), reference_keys(settings)[0])
    return f"bounces+{token}@shop.example"


async def deliver(port: int, recipients: list[str], content: bytes = BOUNCE) -> dict[str, int]:
    """Deliver a mail as a mail server does; the codes of refused recipients."""

    def send() -> dict[str, int]:
        with smtplib.LMTP("127.0.0.1", port, timeout=30) as lmtp:
            try:
                refused = lmtp.sendmail("", recipients, content)
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
        return {recipient: code for recipient, (code, _) in refused.items()}

    return await asyncio.to_thread(send)


async def test_bounce_to_a_signed_address_suppresses_the_recipient(
    port: int, address: str, resources: Resources, demo: Demo
) -> None:
    for _ in range(2):  # a mail server that got no answer delivers again
        assert await deliver(port, [address]) == {}
    ids = [row_id for (row_id,) in demo.execute("SELECT id FROM webhook_events")]
    assert await process(resources, HANDLERS, MAPLE, ids) == {"applied": 1}
    assert demo.execute("SELECT shop_id, reason FROM email_suppressions").fetchall() == [(1, "bounce")]


@pytest.mark.parametrize(("kind", "reason"), [(FaultKind.BOUNCE, "bounce"), (FaultKind.COMPLAIN, "complaint")])
async def test_simulated_mail_server_sends_bounces_and_complaints_to_the_return_path(
    port: int, address: str, resources: Resources, demo: Demo, kind: FaultKind, reason: str
) -> None:
    app = create_mailbox(bounces=f"127.0.0.1:{port}")
    app.state.mailbox.faults.set(Fault(kind, "jo@example.com"))
    with served(app):

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", app.state.smtp_port, timeout=30) as smtp:
                smtp.sendmail(address, ["jo@example.com"], b"Subject: Hello\r\n\r\nHello\r\n")

        await asyncio.to_thread(send)
        await wait_until(lambda: demo.execute("SELECT FROM webhook_events").fetchall())
    ids = [row_id for (row_id,) in demo.execute("SELECT id FROM webhook_events")]
    assert await process(resources, HANDLERS, MAPLE, ids) == {"applied": 1}
    assert demo.execute("SELECT shop_id, reason FROM email_suppressions").fetchall() == [(1, reason)]


async def test_mail_to_another_address_is_refused_and_stores_nothing(port: int, address: str, demo: Demo) -> None:
    forged = address.replace("@", "a@")
    assert await deliver(port, [forged]) == {forged: 550}
    assert await deliver(port, ["bounces@shop.example"]) == {"bounces@shop.example": 550}
    assert demo.execute("SELECT FROM webhook_events").fetchall() == []


async def test_automatic_reply_is_taken_and_ignored(port: int, address: str, demo: Demo) -> None:
    assert await deliver(port, [address], b"Subject: Out of office\r\n\r\nBack on Monday.") == {}
    assert demo.execute("SELECT FROM webhook_events").fetchall() == []


async def test_bounce_that_cannot_be_stored_is_delivered_again_later(
    port: int, address: str, settings: Settings, demo: Demo
) -> None:
    with postgresql_unavailable(settings), pytest.raises(smtplib.SMTPDataError) as refused:
        await deliver(port, [address])
    assert refused.value.smtp_code == 451
    assert await deliver(port, [address]) == {}
    assert len(demo.execute("SELECT FROM webhook_events").fetchall()) == 1


async def test_mail_that_is_too_large_is_refused(port: int, address: str) -> None:
    with pytest.raises(smtplib.SMTPException):
        await deliver(port, [address], BOUNCE + b"x\r\n" * MAX_BYTES)


async def test_recipient_who_reports_again_and_again_fills_no_inbox(port: int, address: str, demo: Demo) -> None:
    for number in range(5):
        again = BOUNCE.replace(b"Sorry", b"Sorry %d" % number).replace(b"5.1.1", b"5.1.%d" % (number % 2 + 1))
        assert await deliver(port, [address], again) == {}
    assert await deliver(port, [address], dsn("failed", "4.2.2")) == {}
    assert len(demo.execute("SELECT FROM webhook_events").fetchall()) == 2


async def talk(port: int, *commands: bytes) -> list[bytes]:
    """The codes of the replies to the commands; fewer if the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    codes = list[bytes]()
    try:
        for command in (b"", b"LHLO mx.example\r\n", *commands):
            writer.write(command)
            await writer.drain()
            while (line := await reader.readline())[3:4] == b"-":
                pass
            codes.append(line[:3])
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return codes[2:]


async def test_malformed_commands_are_refused_and_nothing_is_logged(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    commands = (b"MAIL FROM:<", b'MAIL FROM:"', b"VRFY a@[", b"JO@EXAMPLE.COM", b"MAIL FROM:<>", b"RCPT TO:<@")
    codes = await talk(port, *(command + b"\r\n" for command in commands))
    assert codes == [b"501", b"501", b"501", b"500", b"250", b"501"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_report_that_cannot_be_stored_for_another_reason_is_delivered_again_later(
    port: int, address: str, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(bounce_server, "store_events", None)
        with pytest.raises(smtplib.SMTPDataError) as refused:
            await deliver(port, [address])
    assert refused.value.smtp_code == 451
    assert await deliver(port, [address]) == {}
    assert len(demo.execute("SELECT FROM webhook_events").fetchall()) == 1


async def test_client_with_too_many_connections_gets_no_more_until_some_are_closed(port: int) -> None:
    async with AsyncExitStack() as connections:
        for _ in range(MAX_OF_A_CLIENT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            connections.callback(writer.close)
            assert (await reader.readline())[:3] == b"220"
        assert await talk(port, b"NOOP\r\n") == []

    async def is_answered() -> bool:
        return await talk(port, b"NOOP\r\n") == [b"250"]

    await wait_until(is_answered)


async def test_line_without_an_end_is_not_kept(port: int, address: str) -> None:
    begin = [b"MAIL FROM:<>\r\n", b"RCPT TO:<%s>\r\n" % address.encode(), b"DATA\r\n"]
    assert await talk(port, *begin, b"x" * 2 * MAX_UNANSWERED + b"\r\n.\r\n") == [b"250", b"250", b"354"]
    assert await talk(port, *begin, b"x" * MAX_BYTES + b"\r\n.\r\n") == [b"250", b"250", b"354", b"500"]


@pytest.mark.parametrize("url", ["smtp://127.0.0.1:25", "lmtp://", "lmtp://127.0.0.1", "lmtp://h:x", "lmtp://h:1/a"])
async def test_malformed_address_of_the_server_is_refused(resources: Resources, settings: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match="BOUNCE_URL"):
        async with serve_bounces(resources, settings.model_copy(update={"bounce_url": url})):
            pass
