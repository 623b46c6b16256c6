"""Requests that carry a webhook: the signature of the body, and the headers."""

import binascii
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from wishcraft.domain.shops import SHOP_DOMAIN

_PREFIX: Final = b"shopify-"
_DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 8
"""Enough of the signature to distinguish the payloads of one event."""
_TEXT: Final = re.compile(r"[!-~]{1,128}")
"""Ids are UUIDs today; PostgreSQL indexes these values, and an entry of an index is at most 2,700 bytes."""
_DOMAIN: Final = re.compile(SHOP_DOMAIN)
_TOPIC: Final = re.compile(r"[a-z0-9_.]{1,64}(?:/[a-z0-9_.]{1,64})?")


class HeadersInvalid(ValueError):  # noqa: N818  it names a state
    """A header is missing or malformed; the message names it and quotes nothing."""


class WebhookHeaders(NamedTuple):
    """Headers of a webhook. The signature does not cover them."""

    shop_domain: str
    topic: str
    webhook_id: str
    """The same in each repetition of a webhook."""
    event_id: str | None
    """The same in all webhooks of an event."""
    triggered_at: datetime | None
    api_version: str | None


def shopify_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """The headers of Shopify by name, lower case, without the prefix; the newer spelling lacks `X-`.

    A header that occurs with two values has all of them, joined by NUL, which no check accepts.
    """
    found: dict[str, bytes] = {}
    for raw, value in headers:
        name = raw.lower().removeprefix(b"x-")
        if name.startswith(_PREFIX):
            key = name.removeprefix(_PREFIX).decode("latin-1")
            found[key] = value if found.get(key, value) == value else found[key] + b"\0" + value
    return found


def digest_of(headers: Mapping[str, bytes]) -> bytes | None:
    """The 32 bytes of the signature, None if it is missing or no base64 of 32 bytes."""
    try:
        digest = binascii.a2b_base64(headers.get("hmac-sha256", b""), strict_mode=True)
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST_BYTES else None


def is_signed(body: bytes, digest: bytes, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets signed the body as received.

    https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook-to-ensure-its-coming-from-shopify
    """
    # No early exit: the time does not show which secret fits.
    matches = [hmac.compare_digest(hmac.digest(secret.encode(), body, "sha256"), digest) for secret in secrets]
    return any(matches)


def parse_headers(headers: Mapping[str, bytes]) -> WebhookHeaders:
    """Check the headers that `shopify_headers` found. A malformed time is None: a payload has a better one.

    Raises:
        HeadersInvalid: A header that is needed is missing, or one is malformed.
    """
    domain = _text(headers, "shop-domain").lower()
    topic = _text(headers, "topic")
    if not _DOMAIN.fullmatch(domain):
        raise HeadersInvalid("X-Shopify-Shop-Domain must be the domain of a shop, which ends with .myshopify.com.")
    if not _TOPIC.fullmatch(topic):
        raise HeadersInvalid("X-Shopify-Topic must be a topic such as orders/create.")
    return WebhookHeaders(
        shop_domain=domain,
        topic=topic,
        webhook_id=_text(headers, "webhook-id"),
        event_id=_text(headers, "event-id") if "event-id" in headers else None,
        triggered_at=_time(headers.get("triggered-at", b"")),
        api_version=_text(headers, "api-version") if "api-version" in headers else None,
    )


def _text(headers: Mapping[str, bytes], name: str) -> str:
    value = headers.get(name, b"").decode("latin-1")
    if not _TEXT.fullmatch(value):
        problem = "is missing" if not value else "must be one value of at most 128 printable ASCII characters"
        raise HeadersInvalid(f"X-Shopify-{name.title()} {problem}.")
    return value


def _time(value: bytes) -> datetime | None:
    try:
        time = datetime.fromisoformat(value.decode("ascii"))
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
