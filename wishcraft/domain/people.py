"""A person whose data are erased or handed over: by what the rows and payloads of a shop are about them. Pure."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import idna

from wishcraft.domain.addresses import address_hash, normalise

_LOCAL_END: Final = re.compile(r"[^\s<>\"(),:;\[\]\\]*\Z")
_DOMAIN: Final = re.compile(r"\A[^\s<>\"(),:;\[\]\\'/?&=|{}]*")
_MAY_BE_BEFORE: Final = re.compile(r"['/?&=|{}]")
"""Characters that precede addresses in quotations and URLs, and that addresses may have: `o'brien@example.com`."""
_MAX_LOCAL: Final = 64
_MAX_DOMAIN: Final = 255
_PLAIN_ESCAPES: Final = (
    (rb"\/", b"/"), (rb"\u0026", b"&"), (rb"\u0027", b"'"), (rb"\u003c", b"<"), (rb"\u003e", b">"),
)  # fmt: skip
"""Characters that common JSON encoders escape, though they need not."""
_HIDING: Final = (rb"\\", b"\xcd\xbe", b"\xe1\xbf\xaf", b"\xe2\x84\xaa")
"""A backslash, which makes other escapes ambiguous, and the three characters that `spellings` turns into ASCII's."""
_NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
_SPACES_BETWEEN_DIGITS: Final = bytes.maketrans(_NO_DIGITS, b" " * len(_NO_DIGITS))
_MAX: Final = 400
"""Characters; no address has more."""
_PHONE: Final = re.compile(r"\d[\d\s().\-/]{5,}\d")
_GLOBAL_ID: Final = re.compile(r"gid://shopify/(?:Customer|Order)/(\d{1,19})")
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

    def shares(self, other: "Person") -> bool:
        """Whether an id, a contact or an order of the other one is among this one's."""
        return any(mine & theirs for mine, theirs in zip(self, other, strict=True))


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
    """Spellings of an address in stored data: as typed but for capitals, normalised, and with its domain in letters.

    In Python a capital may become two letters, or another one at the end of a word; for PostgreSQL it is always one.
    """
    typed = address.strip()
    if typed.isascii() and "xn--" not in typed.lower():  # the one spelling
        return {typed.lower()}
    small = (typed.lower(), "".join(each.lower()[:1] for each in typed))
    composed = {unicodedata.normalize("NFC", each) for each in small}
    parts = [each.rpartition("@") for each in composed]
    return composed | {f"{local}@{each}" for local, _, domain in parts for each in _spellings_of_domain(domain)}


@lru_cache(maxsize=1_000)
def _spellings_of_domain(domain: str) -> tuple[str, ...]:
    """Cached, because IDNA takes fifty times as long as all else about an address."""
    normal = (normalise(f"a@{domain}") or "").rpartition("@")[2]
    return (normal, idna.decode(normal)) if normal else ()


def make_signs(email: str | None, phone: str | None) -> frozenset[bytes] | None:
    """Bytes for `has_sign`: a payload with the address or the telephone number has one of them.

    None if that cannot be said: other letters than ASCII's, quotes and backslashes have many forms in JSON.
    """
    local = unicodedata.normalize("NFC", (email or "").strip().lower()).rpartition("@")[0]
    digits = "".join(filter(str.isdecimal, phone or ""))[-_DIGITS_OF_PHONE:]
    if not (local + digits).isascii() or not local.isprintable() or set(local) & set('"\\') or (email and not local):
        return None
    return frozenset(each.encode() for each in (local, quote(local, safe="").lower(), digits) if each)


def has_sign(payload: bytes, signs: Collection[bytes], numbers: Collection[bytes] = frozenset()) -> bool:
    """Whether a payload may be about a person: it has a sign or one of the numbers, or escapes that may hide a sign.

    A fast look before `find_mentions`: of a telephone number, only the digits are compared.
    """
    lower = payload.lower()
    if any(each in lower for each in _HIDING):
        return True
    for escaped, meant in _PLAIN_ESCAPES:
        lower = lower.replace(escaped, meant)
    if b"\\u" in lower or any(sign in lower for sign in signs):
        return True
    if not set(lower.translate(_SPACES_BETWEEN_DIGITS).split()).isdisjoint(numbers):
        return True
    digits = lower.translate(None, _NO_DIGITS)
    return any(sign in digits for sign in signs)


class Mentions(NamedTuple):
    """The parts of a JSON value, at any depth, that may identify a person."""

    numbers: frozenset[int]
    contacts: frozenset[bytes]
    """In the form of `Person.contacts`."""
    texts: tuple[str, ...]

    def are_of(self, person: Person, words: Collection[str] = ()) -> bool:
        """Whether an id, the address or the telephone number of the person is among them, or one of the words."""
        return (
            not self.numbers.isdisjoint(person.customers | person.orders)
            or not self.contacts.isdisjoint(person.contacts)
            or any(word in text for word in words for text in self.texts)
        )


def find_mentions(content: Any, shop_id: int) -> Mentions:
    """The mentions in a value of a shop, in time proportional to its length."""
    leaves = list(_leaves(content))
    texts = tuple(each for each in leaves if isinstance(each, str))
    numbers = {each for each in leaves if isinstance(each, int)}
    found: set[str] = set()
    for text in texts:
        numbers |= set(map(int, _GLOBAL_ID.findall(text)))
        for form in {text, unquote(text)} if "%40" in text else (text,):
            found |= {spelling for word in _find_addresses(form) for spelling in spellings(word)}
        for number in _PHONE.findall(text):
            digits = "".join(filter(str.isdecimal, number))
            found |= {digits[-_DIGITS_OF_PHONE:]} if len(digits) >= _DIGITS_OF_PHONE else set()
    contacts = frozenset(address_hash(shop_id, each) for each in found)
    return Mentions(frozenset(numbers), contacts, texts)


def _find_addresses(text: str) -> set[str]:
    """Candidates for an address in the text: the text itself, and what is around each `@`."""
    if "@" not in text:
        return set()
    around = {(left[-_MAX_LOCAL:], right[:_MAX_DOMAIN]) for left, right in pairwise(text.split("@"))}
    found = {text[:_MAX]}
    for left, right in around:
        local = _LOCAL_END.findall(left)[0]
        domain = _DOMAIN.findall(right)[0].rstrip(".")
        begins = (0, *(each.end() for each in _MAY_BE_BEFORE.finditer(local)))
        found |= {f"{local[begin:]}@{domain}" for begin in begins}
    return found


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
