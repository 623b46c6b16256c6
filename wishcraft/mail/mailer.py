"""What a mail is, and what sends one. A provider is a `Mailer`; which one, `resources.py` decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that the mail's HTML shows as `cid:<name>`."""

    name: str
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to one recipient, who shows in no log: neither does what is written to them."""

    recipient: str = field(repr=False)
    sender_name: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    message_id: str
    """In angle brackets, the same on every try."""
    unsubscribe_url: str | None = field(repr=False, default=None)
    """Takes a POST without any login (RFC 8058); None for who is written to at their own wish."""
    pictures: Sequence[Picture] = ()


class Mailer(Protocol):
    """Hands mails over to whoever delivers them. Several may be on their way at once."""

    async def send(self, mail: Mail) -> None:
        """Hand the mail over; when this returns, it has been taken. No error's message holds the address.

        Raises:
            ConfigurationError: Nothing says how to send.
            MailUnavailable: Nothing can be sent for now.
            MailPostponed: This mail is not taken for now; others may be.
            MailOutcomeUnknown: It may have been taken, or not.
            AddressRejected: Its address is none that takes mail.
            MailRejected: It will never be taken, for another reason.
            SenderRejected: No mail of ours will be taken until someone changes something.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; each `send` has returned."""
        ...
