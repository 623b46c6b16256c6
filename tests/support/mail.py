"""Mails that the mail server of the tests has received."""

from deployments.sandbox.mailbox.messages import Mailbox


def recipients_of(mailbox: Mailbox) -> list[str]:
    """The recipients of all its mails, sorted."""
    return sorted(address for received in mailbox.messages for address in received.recipients)
