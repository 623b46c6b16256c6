"""Interprets HTTP responses of the Admin GraphQL API. Pure: no I/O."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx
import orjson

from wishcraft.errors import (
    ShopClosed,
    ShopifyAccessDenied,
    ShopifyForbidden,
    ShopifyQueryInvalid,
    ShopifyQueryTooLarge,
    ShopifyRefused,
    ShopifyUnauthorized,
    ShopifyUnavailable,
)
from wishcraft.shopify.pacing import ThrottleStatus

_CLOSED: Final = frozenset({HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.LOCKED})
"""https://shopify.dev/docs/api/usage/response-codes"""
_TRANSIENT_CODES: Final = frozenset({"INTERNAL_SERVER_ERROR", "TIMEOUT"})
_KINDS: Final = {"ACCESS_DENIED": ShopifyAccessDenied, "MAX_COST_EXCEEDED": ShopifyQueryTooLarge}
_DEFAULT_RETRY_AFTER: Final = 2.0
"""Seconds, for a 429 whose `Retry-After` is missing or malformed; Shopify documents one in every 429."""


@dataclass(frozen=True, slots=True)
class ShopifyResponse:
    """A valid response: data, or (if `data` is None) a throttled query to repeat later."""

    data: dict[str, Any] | None
    requested_cost: float | None = None
    actual_cost: float = 0.0
    status: ThrottleStatus | None = None
    retry_after: float = 0.0
    """Seconds; 0 if `status` says how long to wait."""


def read_response(response: httpx.Response) -> ShopifyResponse:
    """Tell data, throttling and errors apart.

    https://shopify.dev/docs/api/admin-graphql#status-and-error-codes

    Raises:
        ShopifyUnauthorized: 401.
        ShopifyForbidden: 403.
        ShopClosed: 402 and 423, or 200 with SHOP_INACTIVE.
        ShopifyRefused: Any other 4xx but 429, such as 404 for a shop that was deleted.
        ShopifyUnavailable: 5xx, an internal error of Shopify, or a malformed body.
        ShopifyAccessDenied: The app may not see a field.
        ShopifyQueryTooLarge: The query costs too much.
        ShopifyQueryInvalid: Shopify refuses the query or its variables.
    """
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return ShopifyResponse(None, retry_after=_seconds(response.headers.get("Retry-After", "")))
    check_status(response)
    body = read_object(response.content)
    errors, cost = body.get("errors") or [], _cost(body)
    if not errors and isinstance(body.get("data"), dict):
        return ShopifyResponse(body["data"], *cost)
    codes = _codes(errors)
    if "THROTTLED" in codes:
        return ShopifyResponse(None, *cost)
    if "SHOP_INACTIVE" in codes:
        raise ShopClosed("Shopify answered that the shop is not active")
    if not errors or codes & _TRANSIENT_CODES:
        raise ShopifyUnavailable("Shopify answered 200 with an internal error or without data")
    raise next((kind for code, kind in _KINDS.items() if code in codes), ShopifyQueryInvalid)(_messages(errors))


def check_status(response: httpx.Response) -> None:
    """Raise the error of an unsuccessful status. The message never quotes the body, which may repeat a secret."""
    status = response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise ShopifyUnauthorized("Shopify does not accept the access token")
    if status == HTTPStatus.FORBIDDEN:
        raise ShopifyForbidden(
            "Shopify answered 403: it has closed the shop or, if all fail, the app's IP allowlist lacks an address"
        )
    if status in _CLOSED:
        raise ShopClosed(f"Shopify answered {status} {response.reason_phrase}")
    if response.is_client_error:
        raise ShopifyRefused(f"Shopify answered {status} {response.reason_phrase}")
    if not response.is_success:
        raise ShopifyUnavailable(f"Shopify answered {status} {response.reason_phrase}")


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`.

    Raises:
        ShopifyUnavailable: There is none: the content is truncated or malformed.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ShopifyUnavailable(f"Shopify sent malformed JSON: {error}") from None
    if not isinstance(value, dict):
        raise ShopifyUnavailable("Shopify sent JSON that is not an object")
    return value


def _seconds(header: str) -> float:
    return float(header) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", header) else _DEFAULT_RETRY_AFTER


def _cost(body: dict[str, Any]) -> tuple[float | None, float, ThrottleStatus | None]:
    """Requested cost, actual cost and throttle status. A query that was not run has the actual cost 0."""
    try:
        cost = body["extensions"]["cost"]
        actual = float(cost.get("actualQueryCost") or 0)
        return float(cost["requestedQueryCost"]), actual, ThrottleStatus.parse(cost["throttleStatus"])
    except (KeyError, TypeError, ValueError):
        return None, 0.0, None


def _codes(errors: Any) -> set[str]:
    entries = errors if isinstance(errors, list) else []
    return {str((entry.get("extensions") or {}).get("code")) for entry in entries if isinstance(entry, dict)}


def _messages(errors: Any) -> str:
    entries = errors if isinstance(errors, list) else [errors]
    return "; ".join(str(entry.get("message") if isinstance(entry, dict) else entry) for entry in entries)
