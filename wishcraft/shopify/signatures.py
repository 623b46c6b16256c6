"""Verifies the signature of requests that come through Shopify's app proxy. Pure: secrets and time are passed in."""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from wishcraft.domain.shops import SHOP_DOMAIN

MAX_AGE: Final = timedelta(minutes=5)
"""Of a signed query that reads."""
MAX_CHANGE_AGE: Final = timedelta(seconds=90)
"""Of one that changes something: anyone who has seen it can send it again with another body."""
_CLOCK_SKEW: Final = timedelta(seconds=30)
"""How far Shopify's clock may be ahead of ours."""
_SET_BY_SHOPIFY: Final = {
    "logged_in_customer_id": re.compile(r"(?:[1-9][0-9]{0,17})?"),  # empty for a guest
    "path_prefix": re.compile(r"/.*", re.DOTALL),
    "shop": re.compile(SHOP_DOMAIN),
    "timestamp": re.compile(r"[0-9]{1,18}"),
}
"""The fields that Shopify adds once to every request, in their order in the signed message."""
_FIELDS: Final = tuple((name, pattern.fullmatch) for name, pattern in _SET_BY_SHOPIFY.items())
SIGNED_FIELDS: Final = frozenset({*_SET_BY_SHOPIFY, "signature"})
"""The query parameters that are Shopify's own."""
_LONGEST_MATCHES: Final = (r"[0-9]*", r"/", SHOP_DOMAIN, r"[0-9]{1,18}")
_OCCURRENCES: Final = tuple(
    re.compile(f"{name}=({value})") for name, value in zip(_SET_BY_SHOPIFY, _LONGEST_MATCHES, strict=True)
)
"""Each of these fields anywhere in a message, with the longest value it may have there; of a path, its first `/`."""
_REPEATED: Final = tuple(f"{name}=" for name in _SET_BY_SHOPIFY)
_MAX_OCCURRENCES: Final = 4
_SHOP_BETWEEN_OTHERS: Final = re.compile(f"&shop={SHOP_DOMAIN}&")
"""In each query that opens the app or ends an authorization (OAuth). Shopify signs it with the same secret, with `&`
between its fields, and shows the signature in the browser: its `state` could be fields of the app proxy."""
_FIRST_TIMESTAMP: Final = 1_300_000_000
"""In 2011: before Shopify signed anything."""
_MAX_FIELDS: Final = 100
_LONGEST_KNOWN_FIELD: Final = 128


class ProxyIdentity(NamedTuple):
    """The shop, the customer if one is logged in, and the time of the signature."""

    shop: str
    customer_id: int | None
    signed_at: datetime


def sign(message: str, secret: str) -> str:
    """The hex HMAC-SHA256 of the message, which Shopify puts in `signature`."""
    mac = _mac(secret).copy()  # costs half of what OpenSSL takes to find the algorithm and read the key
    mac.update(message.encode())
    return mac.hexdigest()


@lru_cache(16)
def _mac(secret: str) -> hmac.HMAC:
    return hmac.new(secret.encode(), None, "sha256")


def canonical(parameters: Iterable[tuple[str, str]]) -> str:
    """The message that Shopify signs: sorted `key=value` strings without separators, repeated values joined by commas.

    https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies
    """
    values: dict[str, list[str]] = {}
    for key, value in parameters:
        values.setdefault(key, []).append(value)
    return _message(values)


def _message(values: Mapping[str, Sequence[str]]) -> str:
    return "".join(sorted([f"{key}={','.join(each)}" for key, each in values.items()]))


def verify_proxy_query(
    query_string: bytes | str, secrets: Sequence[str], now: datetime, max_age: timedelta = MAX_AGE
) -> ProxyIdentity | None:
    """The identity that a raw query string proves, or None if the signature or a field is invalid.

    Args:
        query_string: As received, percent-encoded.
        secrets: The app's client secret, and the previous one during a rotation.
        now: Aware UTC.
        max_age: How long before `now` the timestamp may be.
    """
    try:
        text = query_string if isinstance(query_string, str) else query_string.decode("ascii")
        text.encode("ascii")
        values = parse_query(text)
    except ValueError:
        return None
    signature = ",".join(values.pop("signature", ())).encode()
    message = _message(values)
    # No early exit, and bytes: `compare_digest` raises on text that is not ASCII.
    matches = [hmac.compare_digest(sign(message, secret).encode(), signature) for secret in secrets]
    if not any(matches):
        return None
    fields = []
    for name, fullmatch in _FIELDS:
        found = values.get(name, ())
        if len(found) != 1 or not fullmatch(found[0]):
            return None
        fields.append(found[0])
    customer, _, shop, timestamp = fields
    try:
        identity = ProxyIdentity(shop, int(customer) if customer else None, datetime.fromtimestamp(int(timestamp), UTC))
    except (ValueError, OverflowError, OSError):
        return None
    age = now - identity.signed_at
    if not -_CLOCK_SKEW <= age <= max_age or _is_ambiguous(message, (customer, shop, timestamp), now):
        return None
    return identity


def parse_query(text: str) -> dict[str, list[str]]:
    """The decoded parameters of a query, as `parse_qs` gives them with blank values, in a third of its time.

    Raises:
        ValueError: There are too many, or one is not UTF-8.
    """
    if text.count("&") >= _MAX_FIELDS:
        raise ValueError("too many parameters")
    values: dict[str, list[str]] = {}
    for field in text.split("&"):
        if field:
            key, _, value = field.partition("=")
            if "%" in field or "+" in field:
                decode = _decode_known if len(field) <= _LONGEST_KNOWN_FIELD else _decode
                key, value = decode(key), decode(value)
            if key in values:
                values[key].append(value)
            else:
                values[key] = [value]
    return values


def _decode(text: str) -> str:
    return unquote_plus(text, errors="strict")


_decode_known: Final = lru_cache(1024)(_decode)  # such as `path_prefix`, the same in all queries of a shop


def _is_ambiguous(message: str, proven: tuple[str, str, str], now: datetime) -> bool:
    """Whether the message can be split into fields in a second way, which gives another customer, shop or time.

    The message has no separators, so a client's own parameter such as `a=1logged_in_customer_id=42n=` may be split
    into a customer's id under the same signature. What Shopify signed is one of the ways. All ways are searched that
    have Shopify's fields in their order; of other fields only the first between two of these must be sorted.
    """
    if max(map(message.count, _REPEATED)) == 1:
        return False
    if _SHOP_BETWEEN_OTHERS.search(message):
        return True
    ways: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    for field, occurrence in zip(_SET_BY_SHOPIFY, _OCCURRENCES, strict=True):
        matches = list(occurrence.finditer(message))
        if len(matches) > _MAX_OCCURRENCES:
            return True
        ways = [
            (match.end(), (*values, match[1]))
            for end, values in ways
            for match in matches
            # The end of the path prefix is unknown, so anything may follow its beginning.
            if match.start() >= end
            and (field == "shop" or _may_be_fields(message[end : match.start()], before=match[0]))
        ]
    latest = (now + timedelta(days=1)).timestamp()
    return any(
        (customer, shop, timestamp) != proven and _FIRST_TIMESTAMP <= int(timestamp) <= latest
        for end, (customer, _, shop, timestamp) in ways
        if _may_be_fields(message[end:], before="\uffff")
    )


def _may_be_fields(text: str, before: str) -> bool:
    """Whether a part of the message may be parameters of the client, whose keys may contain `=`, `before` a field."""
    is_repetition = text.startswith(_REPEATED)  # each field occurs once, so this would be a key with a `=` in it
    key, *others = text.split("=", 1 + is_repetition)
    return not text or (len(others) > is_repetition and "=".join([key, *others[:-1]]) <= before)
