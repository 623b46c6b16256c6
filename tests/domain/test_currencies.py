"""Amounts have the decimals of ISO 4217."""

from decimal import Decimal

import pytest
from babel.numbers import get_currency_precision
from sqlalchemy import Numeric

from wishcraft.domain.currencies import MAX_AMOUNT, SCALE, UNUSUAL_DECIMALS, decimals, format_money
from wishcraft.store.schema import RegistryItem

# List one of ISO 4217 as SIX publishes it, by the number of decimals; precious metals and test codes have none.
ISO_4217 = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV "
    "MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
    "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


def test_every_currency_has_the_decimals_of_iso_4217() -> None:
    listed = {currency: number for number, codes in ISO_4217.items() for currency in codes.split()}
    assert len(listed) == 165
    assert {currency: decimals(currency) for currency in listed} == listed
    assert set(UNUSUAL_DECIMALS) <= set(listed)


# CLDR, whose data babel has, tells how amounts are usually written; these currencies' minor units are hardly used.
WRITTEN_WITHOUT = {
    "AFN", "ALL", "COP", "HUF", "IDR", "IQD", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "SOS", "SYP", "YER",
}  # fmt: skip


def test_decimals_are_those_of_babel_but_for_minor_units_that_are_hardly_used() -> None:
    differing = {
        code for codes in ISO_4217.values() for code in codes.split() if get_currency_precision(code) != decimals(code)
    }
    assert differing == WRITTEN_WITHOUT
    assert {get_currency_precision(code) for code in differing} == {0}


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1500.00", "EUR", "1500.00"),
        ("1500.00", "JPY", "1500"),
        ("1500.00", "RWF", "1500"),
        ("12.345", "KWD", "12.345"),
        ("12.3455", "BHD", "12.346"),
        ("12.345", "USD", "12.35"),
        ("12.3456", "CLF", "12.3456"),
        ("2.5", "KRW", "3"),
        ("0", "TND", "0.000"),
    ],
)
def test_money_has_as_many_decimals_as_its_currency(amount: str, currency: str, shown: str) -> None:
    assert format_money(Decimal(amount), currency) == shown


def test_column_of_money_holds_the_greatest_amount_and_the_finest_decimals() -> None:
    kind = RegistryItem.__table__.c.price.type
    assert isinstance(kind, Numeric)
    assert kind.precision
    assert kind.scale
    assert max(map(decimals, UNUSUAL_DECIMALS)) == kind.scale
    assert 10**kind.scale == SCALE
    assert Decimal(10 ** (kind.precision - kind.scale)) - Decimal(1) / SCALE == MAX_AMOUNT
