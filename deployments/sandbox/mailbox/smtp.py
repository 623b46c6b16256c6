"""The mail server's SMTP side, over aiosmtpd."""

import asyncio
from typing import Final, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from deployments.sandbox.mailbox.bounces import REPORTED, BounceSender
from deployments.sandbox.mailbox.messages import FaultKind, Mailbox

MAX_BYTES: Final = 32 * 2**20
"""Of a message. A larger one is refused."""
_REPLIES: Final = {
    FaultKind.UNAVAILABLE: "421 4.3.2 Going down, come back later",
    FaultKind.DEFER: "451 4.7.1 Greylisted, try again later",
    FaultKind.REFUSE: "550 5.1.1 {address}: no such user here",
    FaultKind.REJECT: "554 5.7.1 Message refused by policy",
}


class SmtpHandler:
    """Replies to SMTP commands; aiosmtpd prescribes the method names."""

    def __init__(self, mailbox: Mailbox, bounces: BounceSender) -> None:
        self._mailbox = mailbox
        self._bounces = bounces

    async def handle_MAIL(  # noqa: N802  name set by aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept the sender, or reply as the fault does."""
        if self._mailbox.faults.use([], FaultKind.UNAVAILABLE):
            return _REPLIES[FaultKind.UNAVAILABLE]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802  name set by aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Accept the recipient, or reply as the fault does."""
        if fault := self._mailbox.faults.use([address], FaultKind.DEFER, FaultKind.REFUSE):
            return _REPLIES[fault.kind].format(address=address)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store the message, or act as the fault does."""
        fault = self._mailbox.faults.use(envelope.rcpt_tos, FaultKind.REJECT, FaultKind.HANG, FaultKind.DROP)
        kind = fault.kind if fault else None
        if kind is FaultKind.REJECT:
            return _REPLIES[kind]
        if kind is FaultKind.HANG:
            await asyncio.Event().wait()  # until the client disconnects
        self._mailbox.add(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b"")
        for recipient in envelope.rcpt_tos:
            if reported := self._mailbox.faults.use([recipient], *REPORTED):
                self._bounces.start(reported.kind, envelope.mail_from or "", recipient)
        if kind is FaultKind.DROP:
            cast("asyncio.WriteTransport", server.transport).abort()
        return "250 2.0.0 Taken"


async def start_smtp_server(mailbox: Mailbox, bounces: BounceSender, port: int) -> asyncio.Server:
    """Serve SMTP on 127.0.0.1; port 0 means any free port."""
    loop = asyncio.get_running_loop()

    def make_protocol() -> SMTP:
        handler = SmtpHandler(mailbox, bounces)
        return SMTP(handler, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, hostname="mailbox.localhost", loop=loop)

    return await loop.create_server(make_protocol, "127.0.0.1", port)
