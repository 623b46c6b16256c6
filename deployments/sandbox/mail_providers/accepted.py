"""A mail that a simulated provider has accepted, and the events that follow from the active faults."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deployments.sandbox.mail_providers.faults import ProviderFaultKind, ProviderFaults


class Happening(StrEnum):
    """What becomes of a mail."""

    SEND = "send"
    DELIVERY = "delivery"
    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCE = "soft_bounce"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True)
class AcceptedMail:
    """A mail that was accepted."""

    provider_id: str
    """SES's MessageId, or SendGrid's X-Message-Id."""
    message_id: str
    """The header Message-ID that its recipient sees."""
    sender: str
    recipient: str
    marks: Mapping[str, str]
    """Tags of SES, or custom arguments of SendGrid."""
    accepted_at: datetime


def plan_events(mail: AcceptedMail, faults: ProviderFaults) -> list[tuple[float, Happening]]:
    """What becomes of the mail, each with the seconds until then; the order is that of the events."""
    kinds = ProviderFaultKind
    events = [(0.0, Happening.SEND), *_ending(mail, faults)]
    if faults.use(mail.recipient, kinds.REORDER):
        events.reverse()
    if faults.use(mail.recipient, kinds.DUPLICATE):
        events = [each for event in events for each in (event, (0.0, event[1]))]
    return events


def _ending(mail: AcceptedMail, faults: ProviderFaults) -> Iterator[tuple[float, Happening]]:
    kinds = ProviderFaultKind
    if fault := faults.use(mail.recipient, kinds.BOUNCE, kinds.SOFT_BOUNCE):
        yield fault.seconds, Happening.HARD_BOUNCE if fault.kind is kinds.BOUNCE else Happening.SOFT_BOUNCE
        return
    yield 0.0, Happening.DELIVERY
    if fault := faults.use(mail.recipient, kinds.COMPLAIN):
        yield fault.seconds, Happening.COMPLAINT
