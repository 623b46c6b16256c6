"""Delivery status notifications about a mail, as mail servers send them."""

from wishcraft.domain.mail_references import PURPOSE, MailKind, MailReference, make_token
from wishcraft.domain.signing import derive_keys

[KEY] = derive_keys(["key"], PURPOSE)
REFERENCE = MailReference(MailKind.REMINDER, 1, 5)
TOKEN = make_token(REFERENCE, KEY)


def notification(kind: str, part_type: str, fields: str) -> bytes:
    """A notification as mail servers send it (RFC 6522)."""
    return (
        f"From: MAILER-DAEMON@example.com\r\nTo: bounces+{TOKEN}@shop.example\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nSorry, jo@example.com did not get it.\r\n"
        f"--b\r\nContent-Type: {part_type}\r\n\r\n{fields}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Soon\r\nTo: jo@example.com\r\n\r\n--b--\r\n"
    ).encode()


def dsn(action: str, status: str) -> bytes:
    fields = (
        f"Reporting-MTA: dns; mx.example.com\r\n\r\nFinal-Recipient: rfc822; jo@example.com\r\nAction: {action}\r\n"
        f"Status: {status}\r\nDiagnostic-Code: smtp; 550 {status} <jo@example.com>: no\r\n"
    )
    return notification("delivery-status", "message/delivery-status", fields)
