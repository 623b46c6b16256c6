"""A mail that a simulated provider has accepted, and the events that follow from the active faults."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from deployments.sandbox.mail_providers.faults import ProviderFaultKind, ProviderFaults


class EventKind(StrEnum):
    """Kind of event of a mail."""

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


class PlannedEvent(NamedTuple):
    """An event of a mail."""

    kind: EventKind
    seconds: float = 0
    """After the event before it."""
    copies: int = 1
    """How often the same event is sent."""
    forged: bool = False
    """Whether another key signs it."""


def plan_events(mail: AcceptedMail, faults: ProviderFaults) -> list[PlannedEvent]:
    """The events of the mail, in the order in which they are sent."""
    kinds = ProviderFaultKind
    events = [PlannedEvent(EventKind.SEND), *_outcome_events(mail, faults)]
    if faults.use([mail.recipient], kinds.REORDER):
        events.reverse()
    if faults.use([mail.recipient], kinds.DUPLICATE):
        events = [event._replace(copies=2) for event in events]
    if faults.use([mail.recipient], kinds.FORGE):
        events.insert(0, PlannedEvent(EventKind.HARD_BOUNCE, forged=True))
    return events


def _outcome_events(mail: AcceptedMail, faults: ProviderFaults) -> Iterator[PlannedEvent]:
    kinds = ProviderFaultKind
    if fault := faults.use([mail.recipient], kinds.BOUNCE, kinds.SOFT_BOUNCE):
        is_hard = fault.kind is kinds.BOUNCE
        yield PlannedEvent(EventKind.HARD_BOUNCE if is_hard else EventKind.SOFT_BOUNCE, fault.seconds)
        return
    yield PlannedEvent(EventKind.DELIVERY)
    if fault := faults.use([mail.recipient], kinds.COMPLAIN):
        yield PlannedEvent(EventKind.COMPLAINT, fault.seconds)
