"""Bounces (RFC 3464) and complaints (RFC 5965) about received mail, delivered over LMTP to its return path."""

import asyncio
import smtplib
from typing import Final

from deployments.sandbox.background import Background
from deployments.sandbox.mailbox import DOMAIN
from deployments.sandbox.mailbox.messages import FaultKind

REPORTED: Final = (FaultKind.BOUNCE, FaultKind.COMPLAIN)
_PAUSES: Final = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Seconds between tries while the server does not answer, or says that it will take the notification later."""


class BounceSender:
    """Sends notifications to one LMTP server, `host:port`, or nowhere if it is None."""

    def __init__(self, server: str | None) -> None:
        self._server = server
        self._background = Background()

    def start(self, kind: FaultKind, return_path: str, recipient: str) -> None:
        """Send the notification in the background until `close`."""
        if self._server is None or not return_path:
            return
        self._background.start(self._send(self._server, return_path, make_notification(kind, return_path, recipient)))

    async def _send(self, server: str, return_path: str, notification: bytes) -> None:
        for pause in _PAUSES:
            if await asyncio.to_thread(_is_taken, server, return_path, notification):
                return
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Cancel what is still to be sent."""
        await self._background.close()


def make_notification(kind: FaultKind, return_path: str, recipient: str) -> bytes:
    """The notification about a mail to this recipient."""
    if kind is FaultKind.BOUNCE:
        name, subject = "delivery-status", "Undelivered Mail Returned to Sender"
        fields = (
            f"Reporting-MTA: dns; mx.{DOMAIN}\n\nFinal-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.1.1\n"
        )
    else:
        name, subject = "feedback-report", "A reader reported your mail"
        fields = "Feedback-Type: abuse\nUser-Agent: Mailbox/1\nVersion: 1\n"
    notification = f"""From: MAILER-DAEMON@{DOMAIN}
To: {return_path}
Subject: {subject}
MIME-Version: 1.0
Content-Type: multipart/report; report-type={name}; boundary="part"

--part
Content-Type: text/plain

The mail server of the local stack reports this, because a fault is set for it.
--part
Content-Type: message/{name}

{fields}
--part--
"""
    return notification.replace("\n", "\r\n").encode()


def _is_taken(server: str, return_path: str, notification: bytes) -> bool:
    """Whether the server took the notification, or refuses it for good."""
    host, _, port = server.rpartition(":")
    try:
        with smtplib.LMTP(host, int(port), timeout=10) as connection:
            connection.sendmail("", [return_path], notification)
    except smtplib.SMTPResponseException as error:
        return error.smtp_code >= 500  # noqa: PLR2004  for good: RFC 5321, section 4.2.1
    except smtplib.SMTPRecipientsRefused as error:
        return all(code >= 500 for code, _ in error.recipients.values())  # noqa: PLR2004  as above
    except (OSError, smtplib.SMTPException):
        return False
    return True
