"""Builds the message of a mail (RFC 5322): headers, text, HTML and inline images. It sends nothing."""

from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from textwrap import shorten
from typing import Any, Final

from wishcraft.mail.mailer import Mail

MAX_SUBJECT_LENGTH: Final = 200
"""Characters. A longer subject is cut at a word; mail programs would cut it anywhere."""
MAX_NAME_LENGTH: Final = 150
"""Characters of a display name: in UTF-8 it fits into a line."""
_NEVER_ENCODED: Final = frozenset({"list-unsubscribe", "message-id"})
_TEXTS: Final = frozenset({"from", "reply-to", "subject"})
_LINE: Final = 76
"""Characters of a line with an encoded word: RFC 2047, section 2."""


class _Policy(EmailPolicy):
    """`email.policy.SMTP` that never folds or encodes the headers that machines read, and encodes texts whole.

    Python encodes a value longer than a line as encoded words (RFC 2047), which no mail program expects in these
    headers. Where it folds a name without encoding it, it loses the quotes, and commas would separate addresses; where
    it folds between two encoded words, it loses the space. A line may have 998 characters: RFC 5322, section 2.1.1.
    """

    def fold_binary(self, name: str, value: Any) -> bytes:
        """The header as the bytes of its lines."""
        if name.lower() in _NEVER_ENCODED:
            return f"{name}: {value}\r\n".encode("ascii")
        if name.lower() in _TEXTS and (self.utf8 or str(value).isascii()):
            return f"{name}: {value}\r\n".encode()
        if name.lower() == "subject":
            return f"{name}: {_encoded(name, str(value))}\r\n".encode("ascii")
        if name.lower() in _TEXTS and value.addresses[0].addr_spec.isascii():
            [address] = value.addresses
            return f"{name}: {_encoded(name, address.display_name)}\r\n <{address.addr_spec}>\r\n".encode("ascii")
        return super().fold_binary(name, value)


def _encoded(name: str, text: str) -> str:
    """The text as encoded words, with its spaces in them."""
    return Header(text, "utf-8", header_name=name, maxlinelen=_LINE).encode(linesep="\r\n")


_POLICY: Final = _Policy(linesep="\r\n")


def build_message(mail: Mail, sender: str, now: datetime) -> EmailMessage:
    """The message of a mail in the shop's name, from its own sender or `sender`; `now` (aware) is its date."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(display_name=display_name(mail), addr_spec=mail.sender or sender)
    message["To"] = mail.recipient
    if mail.reply_to:
        message["Reply-To"] = Address(display_name=display_name(mail), addr_spec=mail.reply_to)
    message["Subject"] = short_subject(mail)
    message["Date"] = now.astimezone(UTC)
    for name, value in machine_headers(mail).items():
        message[name] = value
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    *_, html = message.iter_parts()
    for image in mail.inline_images:
        html.add_related(image.png, "image", "png", cid=f"<{image.name}>", disposition="inline", filename=image.name)
    return message


def display_name(mail: Mail) -> str:
    """The name in `From` and `Reply-To`, on one line, of at most MAX_NAME_LENGTH characters."""
    return " ".join(_unencoded(mail.sender_name).split())[:MAX_NAME_LENGTH].rstrip()


def short_subject(mail: Mail) -> str:
    """The subject on one line, of at most MAX_SUBJECT_LENGTH characters."""
    return shorten(_unencoded(mail.subject), MAX_SUBJECT_LENGTH, placeholder=" …")


def _unencoded(text: str) -> str:
    """The text without encoded words (RFC 2047): Python, providers and mail programs would decode those in a title.

    What one hides may be line breaks, and after them headers and a body.
    """
    return text.replace("=?", "= ?")


def machine_headers(mail: Mail) -> dict[str, str]:
    """The headers that machines read.

    A mail with an `unsubscribe_url` supports one-click unsubscription: RFC 8058, section 3.1. Every message declares
    that it was generated automatically: RFC 3834, section 5.
    """
    one_click = {
        "List-Unsubscribe": f"<{mail.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    return {
        "Message-ID": mail.message_id,
        **(one_click if mail.unsubscribe_url else {}),
        "Auto-Submitted": "auto-generated",
    }


def as_bytes(message: EmailMessage, *, international: bool) -> bytes:
    """The message as sent; `international` keeps UTF-8 in headers, for addresses beyond ASCII (RFC 6531)."""
    return message.as_bytes(policy=_POLICY.clone(utf8=international))
