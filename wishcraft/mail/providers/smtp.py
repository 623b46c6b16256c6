"""Sends mail over SMTP (RFC 5321), several connections at a time, each used again and again."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from pydantic import SecretStr

from wishcraft.domain.addresses import normalise
from wishcraft.errors import (
    AddressRejected,
    ConfigurationError,
    MailOutcomeUnknown,
    MailPostponed,
    MailRejected,
    MailUnavailable,
    SenderRejected,
    WishCraftError,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.message import as_bytes, build_message

SECONDS_TO_ANSWER: Final = 30.0
_CLOSING: Final = 421  # RFC 5321, section 3.8: at any time, to any command
_PERMANENT: Final = 500
_ENHANCED: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])", re.ASCII)
"""A reply's text begins with it (RFC 2034); further on it may be a part of an IP address."""
_NO_MAILBOX: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""Codes of RFC 3463 (and 7505) by which the recipient's mailbox is none, or none any more.

Others are about us, such as 5.7.1 of a relay that does not let us in, or pass, such as 5.2.2 of a mailbox that is full.
"""
_NOT_ALLOWED: Final = frozenset({550, 551, 553})
"""Codes of RFC 5321 for a mailbox that is not there; also for policy, so the words must say which it is."""
_SAYS_NO_MAILBOX: Final = re.compile(
    r"(?i)\b(?:no such|unknown) (?:local )?(?:user|recipient|mailbox|account|address)\b"
    r"|\b(?:user|recipient|mailbox|account|address) (?:is )?(?:unknown|disabled|not found|does(?: not|n't) exist)\b"
)


class SmtpMailer:
    """A `Mailer` over one SMTP server. Connects when there is something to send."""

    def __init__(self, url: SecretStr | None, sender: str | None, *, timeout: float = SECONDS_TO_ANSWER) -> None:
        """`url` is `smtp://user:password@host:port`; `smtps://` is for TLS from the start.

        Ending it in `?starttls` insists on STARTTLS; without, it is used if the server offers it.

        Args:
            url: None, as for `sender`, is for a process that sends nothing.
            sender: The address that mails are from, and bounces go to.
            timeout: Seconds to wait for each of the server's answers.

        Raises:
            ConfigurationError: One of them is malformed; the message does not show it.
        """
        if sender is not None and normalise(sender) is None:
            raise ConfigurationError("MAIL_FROM must be an address, such as registry@example.com")
        self._options = None if url is None else _options(url.get_secret_value())
        self._sender = sender or ""
        self._timeout = timeout
        self._idle: list[SMTP] = []

    async def send(self, mail: Mail) -> None:
        """As `Mailer.send` says."""
        international = not mail.recipient.isascii()
        async with self._connection() as connection:
            message = build_message(mail, self._sender, datetime.now(UTC))
            content = as_bytes(message, international=international)
            await self._address(connection, mail.recipient, international=international)
            try:
                await connection.data(content)
            except SMTPResponseException as error:
                raise _about_the_mail(error) from None
            except (SMTPServerDisconnected, SMTPTimeoutError, OSError) as error:
                raise MailOutcomeUnknown(f"no answer to the mail: {type(error).__name__}") from None

    async def close(self) -> None:
        """As `Mailer.close` says."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.quit()
            except (SMTPException, OSError):
                connection.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        """A connection that is ready for a mail: one that lies idle and still answers, or a new one."""
        connection = await self._reuse() or await self._connect()
        try:
            yield connection
        except (AddressRejected, MailRejected, MailPostponed):
            self._idle.append(connection)  # it answered, so it can be used again
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    async def _reuse(self) -> SMTP | None:
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.rset()
            except (SMTPException, OSError):
                connection.close()  # a server may close what lies idle
                continue
            return connection
        return None

    async def _connect(self) -> SMTP:
        if self._options is None or not self._sender:
            raise ConfigurationError("SMTP_URL and MAIL_FROM must be set to send mail, e.g. smtp://localhost:25")
        connection = SMTP(**self._options, timeout=self._timeout, local_hostname=self._sender.rpartition("@")[2])
        try:
            await connection.connect()
        except SMTPAuthenticationError as error:
            raise SenderRejected(f"the mail server refuses the login of SMTP_URL: {_codes(error)}") from None
        except (SMTPConnectError, SMTPException, OSError) as error:
            raise MailUnavailable(f"the mail server cannot be reached: {type(error).__name__}") from None
        return connection

    async def _address(self, connection: SMTP, recipient: str, *, international: bool) -> None:
        """Say who writes to whom; up to here nothing has been handed over, so a lost connection is no riddle."""
        options = ["SMTPUTF8"] if international else []
        if international and not connection.supports_extension("smtputf8"):
            raise MailRejected("the mail server takes no address that is not ASCII")
        try:
            await self._introduce(connection, options, "utf-8" if international else "ascii")
            await connection.rcpt(recipient, encoding="utf-8" if international else "ascii")
        except SMTPResponseException as error:
            raise _about_the_mail(error) from None
        except (SMTPException, OSError) as error:
            raise MailUnavailable(f"the connection to the mail server was lost: {type(error).__name__}") from None

    async def _introduce(self, connection: SMTP, options: list[str], encoding: str) -> None:
        try:
            await connection.mail(self._sender, options=options, encoding=encoding)
        except SMTPResponseException as error:
            if error.code < _PERMANENT:
                raise MailUnavailable(f"the mail server takes no mail for now: {_codes(error)}") from None
            raise SenderRejected(f"the mail server takes no mail from MAIL_FROM: {_codes(error)}") from None


def _about_the_mail(error: SMTPResponseException) -> WishCraftError:
    """What the refusal of one recipient or one content means."""
    codes = _codes(error)
    if error.code == _CLOSING:
        return MailUnavailable(f"the mail server is closing: {codes}")
    if error.code < _PERMANENT:
        return MailPostponed(f"the mail server takes it later: {codes}")
    if _is_about_the_mailbox(error):
        return AddressRejected(f"the mail server refuses the address: {codes}")
    return MailRejected(f"the mail server refuses the mail: {codes}")


def _is_about_the_mailbox(error: SMTPResponseException) -> bool:
    """Whether the server clearly says that there is no such mailbox: who is refused so is written to no more."""
    if found := _ENHANCED.match(error.message):
        return found[1] in _NO_MAILBOX
    return error.code in _NOT_ALLOWED and _SAYS_NO_MAILBOX.search(error.message) is not None


def _codes(error: SMTPResponseException) -> str:
    """The reply's numbers; its words are left out, because servers put the address in them."""
    found = _ENHANCED.match(error.message)
    return f"{error.code} {found[1]}" if found else str(error.code)


def _options(url: str) -> dict[str, Any]:
    """What `aiosmtplib.SMTP` is to be told."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    insists = parts.query == "starttls"
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or port == -1 or parts.query not in {"", "starttls"}:
        raise ConfigurationError("SMTP_URL must look like smtp://user:password@host:587?starttls, or smtps://…")
    return {
        "hostname": parts.hostname,
        "port": port,
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": parts.scheme == "smtps",
        "start_tls": False if parts.scheme == "smtps" else insists or None,
    }
