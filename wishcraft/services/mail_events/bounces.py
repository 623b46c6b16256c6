"""An LMTP server (RFC 2033) to which a mail server delivers the bounces of mails that were sent by SMTP.

It takes mail for BOUNCE_ADDRESS with a signed reference alone, and answers 250 once the event is stored.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.errors import ConfigurationError, DatabaseRejected, DatabaseUnavailable
from wishcraft.mail.events.dsn import read_report, reference_of
from wishcraft.resources import Resources
from wishcraft.services.deliveries import reference_keys
from wishcraft.services.mail_events.receive import store_events
from wishcraft.services.webhooks.inbox import Inbox
from wishcraft.settings import Settings

MAX_BYTES: Final = 256 * 1024
"""Of a report, which quotes the mail that it is about."""


class _Handler:
    """Replies to commands; aiosmtpd prescribes the method names."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self._resources = resources
        self._inbox = Inbox(resources.db, WebhookQueue(resources.redis))
        self._keys = reference_keys(settings)

    async def handle_RCPT(  # noqa: N802  name set by aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        if reference_of(address, self._keys) is None:
            return "550 5.1.1 No such address"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        reference = reference_of(envelope.rcpt_tos[0], self._keys)
        content = envelope.original_content or b""
        if reference is None:
            return "550 5.1.1 No such address"
        event = await asyncio.to_thread(read_report, content, reference, datetime.now(UTC))
        if event is None or event.outcome is None:
            return "250 2.0.0 Ignored"
        try:
            await store_events(self._resources.db, self._inbox, "smtp", [event])
        except DatabaseUnavailable:
            return "451 4.3.0 Not stored, try again later"
        except DatabaseRejected:
            return "554 5.6.0 Malformed"
        return "250 2.0.0 Stored"

    async def close(self) -> None:
        await self._inbox.close()


@asynccontextmanager
async def serve_bounces(resources: Resources, settings: Settings) -> AsyncIterator[int | None]:
    """Serve at BOUNCE_URL during the block; yields the port, None if BOUNCE_URL is not set.

    Raises:
        ConfigurationError: BOUNCE_URL is malformed, or its port is in use.
    """
    if settings.bounce_url is None:
        yield None
        return
    host, port = _parse(settings.bounce_url)
    handler, loop = _Handler(resources, settings), asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: LMTP(handler, data_size_limit=MAX_BYTES, hostname="wishcraft", timeout=60, loop=loop), host, port
        )
    except OSError as error:
        raise ConfigurationError(f"BOUNCE_URL cannot be served: {error.strerror}") from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await handler.close()


def _parse(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "lmtp" or not parts.hostname or port is None or parts.path or parts.query:
        raise ConfigurationError("BOUNCE_URL must look like lmtp://127.0.0.1:2424")
    return parts.hostname, port
