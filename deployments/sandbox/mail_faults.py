"""Simulated faults of mail, for one address or for all: those of the mail server and of the mail providers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from deployments.sandbox.described import DescribedEnum

Kind = TypeVar("Kind", bound=DescribedEnum)


@dataclass
class AddressFault(Generic[Kind]):
    """An active fault: for one address or (`None`) for all, `remaining` times or (`None`) until it is removed."""

    kind: Kind
    address: str | None = None
    remaining: int | None = None


AnyFault = TypeVar("AnyFault", bound=AddressFault[Any])


class AddressFaults(list[AnyFault]):
    """The active faults of one server."""

    def set(self, fault: AnyFault) -> None:
        """Replace the fault of the same kind and address; `remaining` 0 removes it."""
        self[:] = [each for each in self if (each.kind, each.address) != (fault.kind, fault.address)]
        if fault.remaining != 0:
            self.append(fault)

    def use(self, addresses: Iterable[str], *kinds: DescribedEnum) -> AnyFault | None:
        """The active fault of these kinds for one of the addresses, if any; counts `remaining` down."""
        wanted = {address.lower() for address in addresses}
        for fault in self:
            if fault.kind in kinds and (fault.address is None or fault.address.lower() in wanted):
                if fault.remaining is not None:
                    self.set(replace(fault, remaining=fault.remaining - 1))
                return fault
        return None


class AddressFaultSetting(BaseModel, Generic[Kind]):
    """A fault to add; `remaining` 0 removes it, null keeps it until removed; a null `address` is every address."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    address: str | None = None
    remaining: Annotated[int, Field(ge=0)] | None = None
