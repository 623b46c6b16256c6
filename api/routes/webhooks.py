"""Receipt of Shopify's webhooks. The signature of the body is the only credential."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.auth.dependencies import AppStateDep
from api.large_bodies import read_body
from api.middleware.request import WEBHOOKS
from api.problems import ProblemError, documented
from wishcraft.domain.webhooks import TOPICS
from wishcraft.errors import DatabaseRefused
from wishcraft.observability import metrics
from wishcraft.shopify.webhooks import (
    SIGNATURE_BYTES,
    HeadersInvalid,
    digest_of,
    is_signed,
    parse_headers,
    shopify_headers,
)
from wishcraft.store.webhook_inbox import Received

router: Final = APIRouter(tags=["webhooks"])
_RECEIVED: Final = (
    "bad-request", "unauthorized", "request-timeout", "content-too-large", "invalid-request", "unavailable",
)  # fmt: skip
_HEADERS: Final = {
    "X-Shopify-Hmac-Sha256": (
        "Base64 of the HMAC-SHA256 of the body, with the app's client secret.",
        "XWmrwMey6OsLMeiZKwP4FppHH3cmAiiJJAweH5Jo4bM=",
    ),
    "X-Shopify-Topic": ("The topic.", "orders/create"),
    "X-Shopify-Shop-Domain": ("The shop's `.myshopify.com` domain.", "maple-and-pine.myshopify.com"),
    "X-Shopify-Webhook-Id": (
        "The webhook's id, the same in each repetition.", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"
    ),
    "X-Shopify-Event-Id": (
        "The id of the event that it is about, the same in each webhook of the event.",
        "98880550-7158-44d4-b7cd-2c97c8a091b5",
    ),
    "X-Shopify-Triggered-At": ("When the event happened.", "2026-11-28T09:30:00.123456789Z"),
    "X-Shopify-API-Version": ("The version of the payload.", "2026-10"),
}  # fmt: skip
_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": description,
        "example": example,
    }
    for name, (description, example) in _HEADERS.items()
]


@router.post(
    WEBHOOKS,
    summary="Receive a webhook from Shopify",
    response_description="The webhook is stored, or was before.",
    response_class=Response,
    responses=documented(*_RECEIVED),
    openapi_extra={"parameters": _PARAMETERS},
)
async def receive(request: Request, app_state: AppStateDep) -> Response:
    """For Shopify alone: 200 says that the webhook is stored, or was before. It is handled afterwards.

    The headers may also be without `X-`. The first four are required. The body is at most 4 MiB, and stored as it is.
    """
    headers = shopify_headers(request.headers.raw)
    digest = digest_of(headers)
    if digest is None:  # nothing is read for it
        raise _unsigned()
    body = await read_body(request, app_state, _count_refused)
    # Shopify signs other texts with the same secret, such as ID tokens and queries of the app proxy. None is an object.
    if not body.startswith(b"{") or not is_signed(body, digest, request.app.state.settings.client_secrets):
        raise _unsigned()
    try:
        parsed = parse_headers(headers)
    except HeadersInvalid as error:
        _count_refused("refused")
        raise ProblemError("bad-request", str(error)) from None
    topic = parsed.topic if parsed.topic in TOPICS else "other"
    result = "failed"
    try:
        is_new = await app_state.inbox.receive(
            Received(**parsed._asdict(), payload=body, signature=digest[:SIGNATURE_BYTES])
        )
        result = "stored" if is_new else "repeated"
    except DatabaseRefused:
        result = "refused"
        raise
    finally:
        metrics.WEBHOOKS.labels(topic, result).inc()
    return Response()


def _count_refused(result: str) -> None:
    metrics.WEBHOOKS.labels("unknown", result).inc()


def _unsigned() -> ProblemError:
    _count_refused("unsigned")
    detail = "X-Shopify-Hmac-Sha256 is not the signature of the body with the app's client secret."
    return ProblemError("unauthorized", detail)
