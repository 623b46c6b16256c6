"""Rules for suppressions: when, and for what reason, a shop must not write to an address any more. Pure."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from wishcraft.domain.mail_events import MailOutcome

SOFT_BOUNCES: Final = 3
SOFT_BOUNCE_PERIOD: Final = timedelta(days=14)
"""This many soft bounces of an address within this time count as a hard one."""
REQUESTS: Final = frozenset({MailOutcome.UNSUBSCRIBED, MailOutcome.COMPLAINED})
"""Outcomes by which a recipient asks for no more mail, perhaps again after a suppression was lifted."""


class SuppressionReason(StrEnum):
    """Reason of a suppression."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


REASONS_BY_STRENGTH: Final = (SuppressionReason.BOUNCE, SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT)
"""The reasons, each of which replaces those before it: a click that lifts a bounce must not end the others."""


def suppression_for(outcome: MailOutcome, soft_bounces: int) -> SuppressionReason | None:
    """The reason to suppress an address after this outcome of a mail to it; None without one.

    Args:
        outcome: Of one mail.
        soft_bounces: Mails of the shop to the address that bounced softly within `SOFT_BOUNCE_PERIOD`, this one too.
    """
    if outcome is MailOutcome.SOFT_BOUNCED:
        return SuppressionReason.BOUNCE if soft_bounces >= SOFT_BOUNCES else None
    return _SUPPRESSING.get(outcome)


_SUPPRESSING: Final = {
    MailOutcome.BOUNCED: SuppressionReason.BOUNCE,
    MailOutcome.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
    MailOutcome.COMPLAINED: SuppressionReason.COMPLAINT,
}
