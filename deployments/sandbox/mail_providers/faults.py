"""The faults that a simulated provider has, for one recipient or for all."""

from dataclasses import dataclass

from deployments.sandbox.described import DescribedEnum


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
class ProviderFault:
    """An active fault: for one address or (`None`) for all, `remaining` times or (`None`) until it is removed."""

    kind: ProviderFaultKind
    address: str | None = None
    remaining: int | None = None
    seconds: float = 0


class ProviderFaults:
    """The active faults of one provider."""

    def __init__(self) -> None:
        self.active: list[ProviderFault] = []

    def set(self, fault: ProviderFault) -> None:
        """Replace the fault of the same kind and address; `remaining` 0 removes it."""
        self.active = [each for each in self.active if (each.kind, each.address) != (fault.kind, fault.address)]
        if fault.remaining != 0:
            self.active.append(fault)

    def use(self, recipient: str, *kinds: ProviderFaultKind) -> ProviderFault | None:
        """The active fault of these kinds for the recipient, if any; counts `remaining` down."""
        for fault in self.active:
            if fault.kind in kinds and (fault.address is None or fault.address.lower() == recipient.lower()):
                if fault.remaining is not None:
                    self.set(ProviderFault(fault.kind, fault.address, fault.remaining - 1, fault.seconds))
                return fault
        return None
