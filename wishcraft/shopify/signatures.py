"""Verifies the signature of requests that come through Shopify's app proxy. Pure: secrets and time are passed in."""

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

TOLERANCE: Final = timedelta(minutes=5)
_SHOP: Final = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_SET_BY_SHOPIFY: Final = ("logged_in_customer_id=", "path_prefix=", "shop=", "timestamp=")
_MAX_FIELDS: Final = 100


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """The shop, the customer if one is logged in, and the time of the signature."""

    shop: str
    customer_id: int | None
    signed_at: datetime


def sign(message: str, secret: str) -> str:
    """The hex HMAC-SHA256 that Shopify puts in `signature`."""
    return hmac.digest(secret.encode(), message.encode(), "sha256").hex()


def canonical(parameters: Iterable[tuple[str, str]]) -> str:
    """The message that Shopify signs: sorted `key=value` strings without separators, repeated values joined by commas.

    https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies
    """
    return _concatenate(_join_values(parameters))


def verify_proxy_query(
    query_string: bytes | str, secrets: Sequence[str], now: datetime, tolerance: timedelta = TOLERANCE
) -> ProxyIdentity | None:
    """The identity that a raw query string proves, or None if the signature or a field is invalid.

    Args:
        query_string: As received, percent-encoded.
        secrets: The app's client secret, and the previous one during a rotation.
        now: Aware UTC.
        tolerance: The largest difference between the timestamp and `now`, in either direction.
    """
    fields = _join_values(_parse(query_string))
    signature = fields.pop("signature", "")
    message = _concatenate(fields)
    if not _is_signed(message, signature, secrets):
        return None
    identity = _identity(fields, message)
    return identity if identity and abs(now - identity.signed_at) <= tolerance else None


def _join_values(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for key, value in parameters:
        values.setdefault(key, []).append(value)
    return {key: ",".join(value) for key, value in values.items()}


def _concatenate(fields: dict[str, str]) -> str:
    return "".join(sorted([f"{key}={value}" for key, value in fields.items()]))


def _parse(query_string: bytes | str) -> list[tuple[str, str]]:
    """The decoded parameters in their order; empty if the string is not percent-encoded UTF-8 in ASCII."""
    try:
        raw = query_string.encode("ascii") if isinstance(query_string, str) else query_string
        text = raw.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        return []


def _is_signed(message: str, signature: str, secrets: Sequence[str]) -> bool:
    # No early exit, and bytes: `compare_digest` raises on text that is not ASCII.
    matches = [hmac.compare_digest(sign(message, secret).encode(), signature.encode()) for secret in secrets]
    return any(matches)


def _identity(fields: dict[str, str], message: str) -> ProxyIdentity | None:
    """The identity in the signed fields, if they can be read in one way only.

    The message has no separators, so a visitor's own parameter such as `a=1logged_in_customer_id=42m` could be split
    into a customer's id under the same signature. Shopify adds each of its fields once: twice means a forgery.
    """
    if any(message.count(name) > 1 for name in _SET_BY_SHOPIFY):
        return None
    shop, customer, at = fields.get("shop", ""), fields.get("logged_in_customer_id", ""), fields.get("timestamp", "")
    if not (_SHOP.fullmatch(shop) and _NUMBER.fullmatch(at) and (not customer or _NUMBER.fullmatch(customer))):
        return None
    try:
        return ProxyIdentity(shop, int(customer) if customer else None, datetime.fromtimestamp(int(at), UTC))
    except (ValueError, OverflowError, OSError):
        return None
