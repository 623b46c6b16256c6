"""The LMTP server for bounces, over a real connection."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg import Connection

from tests.mail.test_dsn import dsn
from tests.support.outages import postgresql_unavailable
from wishcraft.domain.mail_events import MailReference, MailTable, make_token
from wishcraft.errors import ConfigurationError
from wishcraft.resources import Resources
from wishcraft.services.deliveries import reference_keys
from wishcraft.services.mail_events.bounces import MAX_BYTES, serve_bounces
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings

Demo = Connection[tuple[Any, ...]]
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
    token = make_token(MailReference(MailTable.REMINDERS, 1, row_id), reference_keys(settings)[0])
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


@pytest.mark.parametrize("url", ["smtp://127.0.0.1:25", "lmtp://", "lmtp://127.0.0.1", "lmtp://h:x", "lmtp://h:1/a"])
async def test_malformed_address_of_the_server_is_refused(resources: Resources, settings: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match="BOUNCE_URL"):
        async with serve_bounces(resources, settings.model_copy(update={"bounce_url": url})):
            pass
