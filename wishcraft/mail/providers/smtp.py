"""The SMTP provider (RFC 5321): a `Mailer` with a pool of reused connections.

The Message-ID stays ours. With BOUNCE_ADDRESS, the return path carries the mail's reference (VERP), so that a bounce
names its mail. SMTP has no idempotency key: a mail whose reply was lost may arrive twice if it is sent again.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from wishcraft.domain.addresses import normalise
from wishcraft.domain.mail_events import MAILBOX_MISSING
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    MailAcceptanceUnknown,
    MailPostponed,
    MailRefused,
    MailUnavailable,
    OwnSenderRefused,
    SenderRefused,
    WishCraftError,
    in_words,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.mime import as_bytes, build_message
from wishcraft.urls.mail import SmtpServer

REPLY_TIMEOUT_SECONDS: Final = 30.0
_CLOSING: Final = 421  # the server may send it in reply to any command: RFC 5321, section 3.8
_PERMANENT: Final = 500
_REFUSALS: Final = range(400, 600)
"""All other codes but 250, and what is not a reply, say nothing of a mail: RFC 5321, section 4.2.1."""
_ENHANCED_CODE: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])", re.ASCII)
"""An enhanced status code (RFC 2034) at the start of a reply; elsewhere it may be part of an IP address."""
_REFUSED_RECIPIENT: Final = frozenset({550, 551, 553})
"""Codes of RFC 5321 for a missing mailbox, and also for policy: the text of the reply decides."""
_SAYS_MAILBOX_MISSING: Final = re.compile(
    r"(?i)\b(?:no such|unknown) (?:local )?(?:user|recipient|mailbox|account|address)\b"
    r"|\b(?:user|recipient|mailbox|account|address) (?:is )?(?:unknown|disabled|not found|does(?: not|n't) exist)\b"
)


class SmtpMailer:
    """A `Mailer` over one SMTP server. It connects on the first send."""

    def __init__(
        self,
        server: SmtpServer | None,
        sender: str | None,
        *,
        bounce_address: str | None = None,
        timeout: float = REPLY_TIMEOUT_SECONDS,
    ) -> None:
        """A mailer that is not connected yet.

        Args:
            server: The one that MAIL_URL names. None in a process that sends no mail.
            sender: The normalised address in `From`, and for bounces. None in a process that sends no mail.
            bounce_address: Normalised; where bounces of mails with a reference go: `local+REFERENCE@domain`.
            timeout: Seconds to wait for each reply.
        """
        self._sender = sender or ""
        self._bounce_address = bounce_address
        self._connect_kwargs = _connect_kwargs(server) if server else None
        self._timeout = timeout
        self._idle: list[SMTP] = []

    async def send(self, mail: Mail) -> None:
        """See `Mailer.send`."""
        mail = replace(mail, recipient=normalise(mail.recipient) or mail.recipient)
        if (idle := await self._reuse()) is not None:
            # Servers end a connection by 421 after so many mails or minutes, and take the next mail on another one.
            with suppress(MailUnavailable):
                await self._send(idle, mail)
                return
        await self._send(await self._connect(), mail)

    async def _send(self, connection: SMTP, mail: Mail) -> None:
        international = not mail.recipient.isascii()
        async with self._keep_if_usable(connection):
            message = build_message(mail, self._sender, datetime.now(UTC))
            content = as_bytes(message, international=international)
            await self._send_envelope(connection, mail, international=international)
            try:
                await connection.data(content)
            except SMTPResponseException as error:
                if error.code not in _REFUSALS:
                    raise MailAcceptanceUnknown(f"no answer to the mail that has a meaning: {_codes(error)}") from None
                refused = _mail_error(error)
                # A policy may be about the shop's own sender; the next try, from MAIL_FROM, shows it.
                if mail.sender and isinstance(refused, MailRefused) and "5.7." in _codes(error):
                    raise OwnSenderRefused(f"the mail server refuses a mail of the sender: {_codes(error)}") from None
                raise refused from None
            except (SMTPServerDisconnected, SMTPTimeoutError, OSError) as error:
                raise MailAcceptanceUnknown(f"no answer to the mail: {in_words(error)}") from None

    async def close(self) -> None:
        """See `Mailer.close`."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.quit()
            except (SMTPException, OSError):
                connection.close()

    @asynccontextmanager
    async def _keep_if_usable(self, connection: SMTP) -> AsyncIterator[None]:
        """Context manager: afterwards, keep the connection for another mail, or close it after an error on it."""
        try:
            yield
        except (AddressRefused, MailRefused, MailPostponed):
            self._idle.append(connection)  # the server replied, so the connection is usable
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    async def _reuse(self) -> SMTP | None:
        """An idle connection that still answers."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.rset()
            except (SMTPException, OSError):
                connection.close()  # servers close idle connections
                continue
            return connection
        return None

    async def _connect(self) -> SMTP:
        if self._connect_kwargs is None or not self._sender:
            raise ConfigurationError("MAIL_URL and MAIL_FROM must be set to send mail, e.g. smtp://localhost:25")
        connection = SMTP(**self._connect_kwargs, timeout=self._timeout, local_hostname=self._sender.rpartition("@")[2])
        try:
            await connection.connect()
        except SMTPAuthenticationError as error:
            if error.code < _PERMANENT:  # such as 454: RFC 4954, section 4
                raise MailUnavailable(f"the mail server takes no login for now: {_codes(error)}") from None
            raise SenderRefused(f"the mail server refuses the login of MAIL_URL: {_codes(error)}") from None
        except (SMTPConnectError, SMTPException, OSError) as error:
            raise MailUnavailable(f"the mail server cannot be reached: {in_words(error)}") from None
        return connection

    async def _send_envelope(self, connection: SMTP, mail: Mail, *, international: bool) -> None:
        """Send sender and recipient. A connection lost up to here has handed nothing over: the outcome is known."""
        options = ["SMTPUTF8"] if international else []
        if international and not connection.supports_extension("smtputf8"):
            raise MailRefused("the mail server takes no address that is not ASCII")
        try:
            await self._mail_from(connection, self._return_path(mail), options, "utf-8" if international else "ascii")
            await connection.rcpt(mail.recipient, encoding="utf-8" if international else "ascii")
        except SMTPResponseException as error:
            raise _mail_error(error) from None
        except (SMTPException, OSError) as error:
            raise MailUnavailable(f"the connection to the mail server was lost: {in_words(error)}") from None

    def _return_path(self, mail: Mail) -> str:
        if not (self._bounce_address and mail.reference):
            return self._sender
        local, _, domain = self._bounce_address.rpartition("@")
        return f"{local}+{mail.reference}@{domain}"

    async def _mail_from(self, connection: SMTP, return_path: str, options: list[str], encoding: str) -> None:
        try:
            await connection.mail(return_path, options=options, encoding=encoding)
        except SMTPResponseException as error:
            if error.code < _PERMANENT:
                raise MailUnavailable(f"the mail server takes no mail for now: {_codes(error)}") from None
            name = "MAIL_FROM" if return_path == self._sender else "BOUNCE_ADDRESS"
            raise SenderRefused(f"the mail server takes no mail from {name}: {_codes(error)}") from None


def _mail_error(error: SMTPResponseException) -> WishCraftError:
    """The error for a reply that refuses the recipient or the content."""
    codes = _codes(error)
    if error.code == _CLOSING:
        return MailUnavailable(f"the mail server is closing: {codes}")
    if error.code < _PERMANENT:
        return MailPostponed(f"the mail server takes it later: {codes}")
    if _is_mailbox_missing(error):
        return AddressRefused(f"the mail server refuses the address: {codes}")
    return MailRefused(f"the mail server refuses the mail: {codes}")


def _is_mailbox_missing(error: SMTPResponseException) -> bool:
    """Whether the reply clearly says that the mailbox does not exist, so that its address gets suppressed."""
    if enhanced := _ENHANCED_CODE.match(error.message):
        return enhanced[1] in MAILBOX_MISSING
    return error.code in _REFUSED_RECIPIENT and _SAYS_MAILBOX_MISSING.search(error.message) is not None


def _codes(error: SMTPResponseException) -> str:
    """The codes of the reply without its text, in which servers repeat the address."""
    enhanced = _ENHANCED_CODE.match(error.message)
    return f"{error.code} {enhanced[1]}" if enhanced else str(error.code)


def _connect_kwargs(server: SmtpServer) -> dict[str, Any]:
    """The arguments of `aiosmtplib.SMTP`."""
    return {
        "hostname": server.host,
        "port": server.port,
        "username": server.user,
        "password": server.password and server.password.get_secret_value(),
        "use_tls": server.is_tls,
        "start_tls": False if server.is_tls else server.requires_starttls or None,
    }
