"""A person whose data are erased or handed over: by what the rows and payloads of a shop are about them. Pure."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

import idna

from wishcraft.domain.addresses import address_hash, normalise

_ADDRESS: Final = re.compile(r"[^\s@<>\"'(),:;\[\]\\]+@[^\s@<>\"'(),:;\[\]\\]+")
_PHONE: Final = re.compile(r"\d[\d\s().\-/]{5,}\d")
_CUSTOMER: Final = re.compile(r"gid://shopify/(?:Customer|Order)/(\d{1,19})")
_DIGITS_OF_PHONE: Final = 8
"""The last digits of a telephone number, which it has with and without the prefix of its country."""


class Person(NamedTuple):
    """A customer of a shop, without a name: what identifies them there.

    `contacts` has an `address_hash` for each spelling of their address, and one of the end of their telephone number.
    """

    customers: frozenset[int]
    """Shopify's ids: more than one after two customers were merged."""
    orders: frozenset[int]
    contacts: frozenset[bytes]


def make_person(
    shop_id: int, customers: Collection[int], orders: Collection[int], email: str | None, phone: str | None
) -> Person:
    """The person with these ids, address and telephone number; what is missing identifies no row."""
    contacts = {address_hash(shop_id, spelling) for spelling in spellings(email)} if email else set()
    digits = "".join(filter(str.isdecimal, phone or ""))[-_DIGITS_OF_PHONE:]
    if len(digits) == _DIGITS_OF_PHONE:
        contacts.add(address_hash(shop_id, digits))
    return Person(frozenset(customers), frozenset(orders), frozenset(contacts))


def spellings(address: str) -> set[str]:
    """How the address may be stored: as it is typed but for capitals, normalised, and with its domain in letters."""
    found = {unicodedata.normalize("NFC", address.strip().lower())}
    if normal := normalise(address):
        local, _, domain = normal.rpartition("@")
        found |= {normal, f"{local}@{idna.decode(domain)}"}
    return found


def is_about(content: Any, shop_id: int, person: Person, words: Collection[str] = ()) -> bool:
    """Whether a JSON value has, at any depth, an id, the address or the telephone number of the person, or a word."""
    for value in _leaves(content):
        if isinstance(value, int):
            if value in person.customers or value in person.orders:
                return True
        elif any(word in value for word in words) or _names(value, shop_id, person):
            return True
    return False


def _names(text: str, shop_id: int, person: Person) -> bool:
    if any(int(number) in person.customers | person.orders for number in _CUSTOMER.findall(text)):
        return True
    found = {spelling for address in _ADDRESS.findall(text) for spelling in spellings(address.rstrip("."))}
    for number in _PHONE.findall(text):
        digits = "".join(filter(str.isdecimal, number))
        found |= {digits[-_DIGITS_OF_PHONE:]} if len(digits) >= _DIGITS_OF_PHONE else set()
    return any(address_hash(shop_id, each) in person.contacts for each in found)


def _leaves(content: Any) -> Iterator[int | str]:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            waiting += value.keys()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int | str):
            yield value
