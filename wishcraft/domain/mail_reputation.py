"""Rules for how many bounces or complaints mean that a shop, or its mail provider, is at fault. Pure."""

from datetime import timedelta
from typing import Final

COMPLAINT_LIMIT: Final = 0.003
"""Share of complaints from which mailbox providers refuse a sender: Gmail's and Yahoo's rules for bulk senders."""
BOUNCE_WARNING: Final = 0.05
COMPLAINT_WARNING: Final = 0.001
"""Shares from which Amazon SES reviews an account; SendGrid names the same."""
COMPLAINT_PERIOD: Final = timedelta(days=7)
MIN_COMPLAINTS: Final = 3
"""Fewer complaints pause no shop, even with a high share: a small shop sends few mails."""
MIN_MAILS_TO_JUDGE: Final = 100
"""Shares of fewer mails say nothing."""
MIN_REFUSED_TO_SUSPECT: Final = 5
"""Fewer refused recipients in a run are never suspicious, even with a high share: a small shop may have three."""


def too_many_complaints(complaints: int, with_outcome: int) -> bool:
    """Whether a shop is to send no mail for now.

    Args:
        complaints: Within `COMPLAINT_PERIOD`.
        with_outcome: All mails that got an outcome from the provider in that time.
    """
    return complaints >= MIN_COMPLAINTS and complaints > COMPLAINT_LIMIT * with_outcome


def too_many_refused(refused: int, sent: int) -> bool:
    """Whether so many recipients of a run were refused that the mail server, not the addresses, must be at fault."""
    return refused >= MIN_REFUSED_TO_SUSPECT and refused > sent
