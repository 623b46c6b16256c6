"""The decimals and symbols of currencies, how amounts are written, and the amounts that can be stored."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

USUAL_DECIMALS: Final = 2
UNUSUAL_DECIMALS: Final[Mapping[str, int]] = {
    **dict.fromkeys((
        "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
        "XPF",
    ), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
"""The currencies whose amounts do not have two decimals (ISO 4217, list one)."""
SYMBOLS: Final[Mapping[str, str]] = {
    "AUD": "A$", "BRL": "R$", "CAD": "CA$", "CNY": "CN¥", "EUR": "€", "GBP": "£", "HKD": "HK$", "ILS": "₪",
    "INR": "₹", "JPY": "¥", "KRW": "₩", "MXN": "MX$", "NZD": "NZ$", "TWD": "NT$", "USD": "$", "VND": "₫",
}  # fmt: skip
"""Symbols before amounts in English (CLDR); other currencies have their code and a space."""
SCALE: Final = 10_000
"""Amounts are stored, and computed with, in ten-thousandths: the finest minor unit that ISO 4217 has."""
MAX_AMOUNT: Final = Decimal("99999999999.9999")
"""The greatest amount that a column of money, `Numeric(15, 4)`, holds."""


def decimals(currency: str) -> int:
    """Number of decimals of an amount in the currency (ISO 4217)."""
    return UNUSUAL_DECIMALS.get(currency, USUAL_DECIMALS)


def symbol(currency: str) -> str:
    """The prefix of an amount in the currency: its symbol, or its code and a space."""
    return SYMBOLS.get(currency, f"{currency}\N{NO-BREAK SPACE}")


def format_money(amount: Decimal, currency: str) -> str:
    """The amount as a decimal string with the currency's decimals, halves rounded up: `12.50`, `1500`, `12.345`."""
    return str(amount.quantize(Decimal(1).scaleb(-decimals(currency)), ROUND_HALF_UP))


def write_money(amount: Decimal, currency: str) -> str:
    """The amount as English-speaking people write it: `$12.50`, `¥33,170`, `CHF 1,200.00`."""
    return f"{symbol(currency)}{Decimal(format_money(amount, currency)):,}"
