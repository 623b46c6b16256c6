"""An order of a simulated shop: lines, refunds, people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias

Properties: TypeAlias = Mapping[str, str | bool | int]
"""Of a line, as its theme has sent them: by JSON, some send no text."""


class Customer(NamedTuple):
    """The customer who orders."""

    id: int
    first_name: str
    last_name: str
    email: str


class Terms(NamedTuple):
    """How an order is paid."""

    currency: str = ""
    """The buyer's; empty for the shop's."""
    discount_percent: int = 0
    """Of a discount code, on all lines."""
    financial_status: str = "paid"


@dataclass(slots=True)
class OrderLine:
    """A line item."""

    id: int
    variant_id: int
    product_id: int
    title: str
    variant_title: str
    price: Decimal
    ordered: int
    left: int
    """Pieces after refunds and edits."""
    properties: Properties


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund: pieces by line item."""

    id: int
    created_at: datetime
    pieces: Mapping[int, int]


@dataclass(slots=True)
class Order:
    """An order as it is now."""

    id: int
    name: str
    created_at: datetime
    updated_at: datetime
    """In whole seconds, as Shopify's."""
    customer: Customer
    note_attributes: Mapping[str, str]
    lines: list[OrderLine]
    is_test: bool
    terms: Terms
    financial_status: str
    cancelled_at: datetime | None = None
    refunds: list[Refund] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether there is something left to edit, cancel or return."""
        return self.cancelled_at is None and any(line.left for line in self.lines)
