"""`Mail` and the `Mailer` protocol that each provider implements. `resources.py` chooses the provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class InlineImage:
    """A PNG that the mail's HTML embeds as `cid:<name>`."""

    name: str
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to one recipient. Its `repr` shows neither the address nor the content."""

    recipient: str = field(repr=False)
    sender_name: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    message_id: str
    """In angle brackets, the same on every attempt."""
    unsubscribe_url: str | None = field(repr=False, default=None)
    """Accepts a POST without a login (RFC 8058); None for mail that the recipient asked for."""
    inline_images: Sequence[InlineImage] = ()
    sender: str | None = field(repr=False, default=None)
    """The address in `From`, of a verified domain; None for MAIL_FROM."""
    reply_to: str | None = field(repr=False, default=None)
    reference: str | None = field(repr=False, default=None)
    """The token of `domain.mail_references` by which an event names this mail; None for mail without events."""


class Mailer(Protocol):
    """Hands mails over for delivery. Safe for concurrent sends on one event loop."""

    async def send(self, mail: Mail) -> None:
        """Hand the mail over; it has been accepted when this returns. No error message contains the address.

        Raises:
            ConfigurationError: A setting for sending is missing.
            MailUnavailable: The provider is unavailable, or accepts no mail for now.
            MailPostponed: The provider does not accept this mail for now; it may accept others.
            MailAcceptanceUnknown: The reply was lost; the mail may have been accepted.
            AddressRefused: The recipient's mailbox does not exist.
            MailRefused: The provider will never accept this mail, for another reason.
            SenderRefused: The provider accepts no mail from this login or sender; a setting must change.
            OwnSenderRefused: It may accept the mail from MAIL_FROM.
        """
        ...

    async def close(self) -> None:
        """Close the connections, after every `send` has returned."""
        ...
