"""The faults that a simulated provider has, for one recipient or for all."""

from dataclasses import dataclass

from deployments.sandbox.described import DescribedEnum
from deployments.sandbox.mail_faults import AddressFault, AddressFaults


class ProviderFaultKind(DescribedEnum):
    """The faults that a provider can simulate: of its replies, then of its events."""

    TOO_MANY_REQUESTS = "too_many_requests", "HTTP 429; the next second accepts some again."
    UNAVAILABLE = "unavailable", "HTTP 503: nothing was processed."
    FAIL = "fail", "HTTP 500 after the message was stored."
    HANG = "hang", "The server reads the request and never replies."
    DROP = "drop", "The server stores the message and closes the connection without a reply."
    REFUSE = "refuse", "The address is refused, as one that no mailbox can have."
    REJECT = "reject", "The content is refused."
    UNVERIFIED = "unverified", "The sender counts as not verified."
    BOUNCE = "bounce", "A hard bounce after `seconds`, in place of the delivery."
    SOFT_BOUNCE = "soft_bounce", "A soft bounce after `seconds`, in place of the delivery."
    COMPLAIN = "complain", "The delivery, and a complaint after `seconds`."
    DUPLICATE = "duplicate", "Each event is sent twice."
    REORDER = "reorder", "The events are sent in the opposite order."
    FORGE = "forge", "Before the events comes a hard bounce that another key has signed."


@dataclass
class ProviderFault(AddressFault[ProviderFaultKind]):
    """An active fault of a provider; an event that it causes comes after `seconds`."""

    seconds: float = 0


ProviderFaults = AddressFaults[ProviderFault]
"""The active faults of one provider."""
