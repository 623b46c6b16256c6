"""Amounts of an order: prices, discounts and taxes, in the shop's currency and in the buyer's.

As with Shopify, prices are those before discounts; they contain the tax if `taxes_included`. Discounts of a code are
allocated to the lines and lower the tax.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from deployments.sandbox.catalogue import DemoShop, convert
from deployments.sandbox.shopify.order import Order, OrderLine
from wishcraft.domain.currencies import format_money

Payload = dict[str, Any]
_ZERO = Decimal(0)


class OrderMoney:
    """The amounts of one order."""

    def __init__(self, demo: DemoShop, order: Order) -> None:
        self._tax = demo.tax
        self._order = order
        self.currency = demo.currency
        self.buyers_currency = order.terms.currency or demo.currency

    def text(self, amount: Decimal) -> str:
        """An amount in the shop's currency."""
        return format_money(amount, self.currency)

    def both(self, amount: Decimal) -> Payload:
        """The amount in both currencies."""
        buyers = convert(amount, self.currency, self.buyers_currency)
        return {
            "shop_money": {"amount": self.text(amount), "currency_code": self.currency},
            "presentment_money": {"amount": buyers, "currency_code": self.buyers_currency},
        }

    def with_set(self, name: str, amount: Decimal) -> Payload:
        """A field in the shop's currency, and its companion in both."""
        return {name: self.text(amount), f"{name}_set": self.both(amount)}

    def discount(self, line: OrderLine, pieces: int) -> Decimal:
        """The part of the discount for `pieces` of the line."""
        return self._round(line.price * pieces * self._order.terms.discount_percent / 100)

    def tax(self, line: OrderLine, pieces: int) -> Decimal:
        """The tax on `pieces` of the line."""
        paid = line.price * pieces - self.discount(line, pieces)
        rate = self._tax.rate
        return self._round(paid - paid / (1 + rate) if self._tax.included else paid * rate)

    def of_line(self, line: OrderLine) -> Payload:
        """The amounts of a line item, as it was ordered."""
        discount = self.discount(line, line.ordered)
        allocation = {"amount": self.text(discount), "amount_set": self.both(discount), "discount_application_index": 0}
        return {
            **self.with_set("price", line.price),
            **self.with_set("total_discount", _ZERO),  # that of a code is among the allocations alone
            "discount_allocations": [allocation] if discount else [],
            "tax_lines": [self._tax_line(self.tax(line, line.ordered))],
            "duties": [],
        }

    def of_order(self) -> Payload:
        """The amounts of the order, as it was ordered and as it is now."""
        terms, ordered = self._order.terms, [(line, line.ordered) for line in self._order.lines]
        discount, tax = self._sum_discounts(ordered), self._sum_taxes(ordered)
        code = {"code": "GIFT", "amount": self.text(discount), "type": "percentage"}
        application = {
            "type": "discount_code",
            "code": "GIFT",
            "value": f"{terms.discount_percent}.0",
            "value_type": "percentage",
            "allocation_method": "across",
            "target_selection": "all",
            "target_type": "line_item",
        }
        return {
            "currency": self.currency,
            "presentment_currency": self.buyers_currency,
            "taxes_included": self._tax.included,
            **self.with_set("total_line_items_price", sum((line.price * n for line, n in ordered), _ZERO)),
            **self.with_set("total_discounts", discount),
            **self._totals("", ordered),
            **self._totals("current_", [(line, line.left) for line in self._order.lines]),
            "tax_lines": [self._tax_line(tax)],
            "discount_codes": [code] if discount else [],
            "discount_applications": [application] if discount else [],
        }

    def _totals(self, prefix: str, pieces: list[tuple[OrderLine, int]]) -> Payload:
        subtotal = sum((line.price * number for line, number in pieces), _ZERO) - self._sum_discounts(pieces)
        tax = self._sum_taxes(pieces)
        return {
            **self.with_set(f"{prefix}subtotal_price", subtotal),
            **self.with_set(f"{prefix}total_tax", tax),
            **self.with_set(f"{prefix}total_price", subtotal if self._tax.included else subtotal + tax),
        }

    def _tax_line(self, tax: Decimal) -> Payload:
        amounts = self.with_set("price", tax)
        return {"title": self._tax.title, "rate": float(self._tax.rate), "channel_liable": False, **amounts}

    def _sum_discounts(self, pieces: Iterable[tuple[OrderLine, int]]) -> Decimal:
        return sum((self.discount(line, number) for line, number in pieces), _ZERO)

    def _sum_taxes(self, pieces: Iterable[tuple[OrderLine, int]]) -> Decimal:
        return sum((self.tax(line, number) for line, number in pieces), _ZERO)

    def _round(self, amount: Decimal) -> Decimal:
        return Decimal(self.text(amount))
