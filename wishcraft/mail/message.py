"""A mail as the bytes that travel (RFC 5322): headers, text and HTML. It sends nothing."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from wishcraft.mail.mailer import Mail


def build_message(mail: Mail, sender: str, now: datetime) -> EmailMessage:
    """The mail as a message from the address `sender` in the shop's name; `now` (aware) is its date.

    It can be unsubscribed from with one click: RFC 8058, section 3.1. Filters and mail programs are told that no person
    wrote it: RFC 3834, section 5.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=" ".join(mail.sender_name.split()), addr_spec=sender)
    message["To"] = mail.recipient
    message["Subject"] = " ".join(mail.subject.split())
    message["Date"] = now.astimezone(UTC)
    message["Message-ID"] = mail.message_id
    message["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def as_bytes(message: EmailMessage, *, international: bool) -> bytes:
    """The message for the wire; `international` leaves UTF-8 in headers, for addresses beyond ASCII (RFC 6531)."""
    return message.as_bytes(policy=SMTPUTF8 if international else SMTP)
