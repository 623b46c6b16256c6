"""The mail server's SMTP side, over aiosmtpd."""

import asyncio
from typing import Final, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from deployments.sandbox.mailbox.letters import FaultKind, Letterbox

_SPOKEN: Final = {
    FaultKind.AWAY: "421 4.3.2 Going down, come back later",
    FaultKind.DEFER: "451 4.7.1 Greylisted, try again later",
    FaultKind.REFUSE: "550 5.1.1 {address}: no such user here",
    FaultKind.REJECT: "554 5.7.1 Message refused by policy",
}


class Doorman:
    """Answers to SMTP's commands; the names of its methods are aiosmtpd's."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the sender, or say that the server is going down."""
        if self._box.strikes([], FaultKind.AWAY):
            return _SPOKEN[FaultKind.AWAY]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take the recipient, or say what the fault says."""
        fault = self._box.strikes([address], FaultKind.DEFER, FaultKind.REFUSE)
        if fault:
            return _SPOKEN[fault].format(address=address)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail, or do as the fault says."""
        fault = self._box.strikes(envelope.rcpt_tos, FaultKind.REJECT, FaultKind.HANG, FaultKind.DROP)
        if fault is FaultKind.REJECT:
            return _SPOKEN[fault]
        if fault is FaultKind.HANG:
            await asyncio.Event().wait()  # until the client goes away
        self._box.take(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b"")
        if fault is FaultKind.DROP:
            cast("asyncio.WriteTransport", server.transport).abort()
        return "250 2.0.0 Taken"


async def listen(box: Letterbox, port: int) -> asyncio.Server:
    """Serve SMTP on 127.0.0.1; port 0 is any that is free."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: SMTP(Doorman(box), enable_SMTPUTF8=True, hostname="mailbox.localhost", loop=loop), "127.0.0.1", port
    )
