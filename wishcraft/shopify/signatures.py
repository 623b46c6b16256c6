"""Whether a request came through Shopify's app proxy, and on whose behalf. Pure: secrets and time are passed in."""

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
_MOST_FIELDS: Final = 100


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """Who Shopify says is asking: the shop, the customer if one is logged in, and when Shopify signed it."""

    shop: str
    customer_id: int | None
    signed_at: datetime


def sign(message: str, secret: str) -> str:
    """The hex HMAC-SHA256 that Shopify puts in `signature`."""
    return hmac.digest(secret.encode(), message.encode(), "sha256").hex()


def canonical(parameters: Iterable[tuple[str, str]]) -> str:
    """What Shopify signs: `key=value` strings, repeated values joined by commas, sorted and run together.

    https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies
    """
    return _run_together(_joined(parameters))


def verify_proxy_query(
    query_string: bytes | str, secrets: Sequence[str], now: datetime, tolerance: timedelta = TOLERANCE
) -> ProxyIdentity | None:
    """The identity that a raw query string proves, or None if it proves none.

    Args:
        query_string: As it arrived, still percent-encoded.
        secrets: The app's client secret, and the previous one while a rotation spreads.
        now: Aware UTC.
        tolerance: How far Shopify's timestamp may be from `now`, either way.
    """
    fields = _joined(_parse(query_string))
    signature = fields.pop("signature", "")
    message = _run_together(fields)
    if not _is_signed(message, signature, secrets):
        return None
    identity = _identity(fields, message)
    return identity if identity and abs(now - identity.signed_at) <= tolerance else None


def _joined(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for key, value in parameters:
        values.setdefault(key, []).append(value)
    return {key: ",".join(value) for key, value in values.items()}


def _run_together(fields: dict[str, str]) -> str:
    return "".join(sorted([f"{key}={value}" for key, value in fields.items()]))


def _parse(query_string: bytes | str) -> list[tuple[str, str]]:
    """The decoded parameters in their order; none if the string is not ASCII that stands for UTF-8."""
    try:
        raw = query_string.encode("ascii") if isinstance(query_string, str) else query_string
        text = raw.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _is_signed(message: str, signature: str, secrets: Sequence[str]) -> bool:
    # No early exit, and bytes: `compare_digest` raises on text that is not ASCII.
    matches = [hmac.compare_digest(sign(message, secret).encode(), signature.encode()) for secret in secrets]
    return any(matches)


def _identity(fields: dict[str, str], message: str) -> ProxyIdentity | None:
    """What the signed fields say, if they can be read in one way only.

    The message has no separators, so a visitor's own parameter such as `a=1logged_in_customer_id=42m` could be cut
    anew into a customer's id under the same signature. Shopify adds each of its fields once: twice means a forgery.
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
