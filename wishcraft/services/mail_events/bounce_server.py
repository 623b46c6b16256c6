"""An LMTP server (RFC 2033) to which a mail server delivers the bounces of mails that were sent by SMTP.

It takes mail for BOUNCE_ADDRESS with a signed reference alone, and answers 250 once the event is stored.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import AnyStr, Final
from urllib.parse import urlsplit

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.errors import ConfigurationError, DatabaseRefused, DatabaseUnavailable
from wishcraft.mail.events.dsn import read_notification, reference_of
from wishcraft.resources import Resources
from wishcraft.services.mail.references import reference_keys
from wishcraft.services.mail_events.receive import BY_SMTP, store_events
from wishcraft.services.webhooks.inbox import Inbox
from wishcraft.settings import Settings

MAX_BYTES: Final = 256 * 1024
"""Of a notification, which quotes the mail that it is about."""
MAX_CONNECTIONS: Final = 200
MAX_OF_A_CLIENT: Final = 20
"""Connections of one address. More are closed at once: a mail server needs a few, and tries again later."""
MAX_UNANSWERED: Final = 4 * 1024 * 1024
"""Bytes that a client may send before it gets a reply: of a line without an end, all are kept."""
_log: Final = logging.getLogger(__name__)


class _Server(LMTP):
    """One connection."""

    def __init__(self, handler: "_Handler", clients: Counter[str], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(handler, data_size_limit=MAX_BYTES, hostname="wishcraft", timeout=60, loop=loop)
        self._clients = clients
        self._client = ""
        self._unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._client = str((transport.get_extra_info("peername") or [""])[0])
        self._clients[self._client] += 1
        if self._clients[self._client] > MAX_OF_A_CLIENT or self._clients.total() > MAX_CONNECTIONS:
            self._abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._clients.subtract([self._client])
        self._clients += Counter()  # forgets clients without a connection
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._unanswered += len(data)
        if self._unanswered > MAX_UNANSWERED:
            self._abort()
        else:
            super().data_received(data)

    async def push(self, status: AnyStr) -> None:
        self._unanswered = 0
        await super().push(status)

    def _abort(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


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
        try:
            event = await asyncio.to_thread(read_notification, content, reference, datetime.now(UTC))
            if event is None or event.outcome is None:
                return "250 2.0.0 Ignored"
            await store_events(self._resources.db, self._inbox, BY_SMTP, [event])
        except DatabaseUnavailable:
            return "451 4.3.0 Not stored, try again later"
        except DatabaseRefused:
            return "554 5.6.0 Malformed"
        except Exception:  # noqa: BLE001  it is logged, and the mail server keeps the notification
            _log.exception("A notification could not be stored")
            return "451 4.3.0 Not stored, try again later"
        return "250 2.0.0 Stored"

    async def handle_exception(self, _error: Exception) -> str:
        """The reply to a command that aiosmtpd's parser of addresses fails at: a stranger's mistake, not logged."""
        return "501 5.5.2 Malformed"

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
    handler, clients, loop = _Handler(resources, settings), Counter[str](), asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Server(handler, clients, loop), host, port)
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
