"""Receipt of mail providers' events. The signature is the only credential; the reference in an event names its mail."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.auth.dependencies import AppStateDep
from api.large_bodies import read_body
from api.middleware.request import MAIL_EVENTS
from api.problems import PAUSE, ProblemError, documented, unauthorized
from api.state import AppState
from wishcraft.domain.mail_events import MailEvent
from wishcraft.errors import EventsUnsigned, EventsUnverified
from wishcraft.mail.events import sendgrid
from wishcraft.mail.events.ses import read_ses
from wishcraft.mail.events.sns import NOTIFICATION
from wishcraft.observability.metrics import MAIL_EVENTS as COUNTED
from wishcraft.services.mail.references import reference_keys
from wishcraft.services.mail_events.receive import store_events

router: Final = APIRouter(tags=["webhooks"])
_RESPONSES: Final = documented("bad-request", "unauthorized", "request-timeout", "content-too-large", "unavailable")
_SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
_SENDGRID_HEADERS: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description,
         "example": example}
        for name, description, example in (
            (_SIGNATURE, "ECDSA signature of the time and the body, as base64.", "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10Qys="),
            (_TIMESTAMP, "When it was signed, in Unix seconds.", "1796000000"),
        )
    ]
}  # fmt: skip
Read = Callable[[bytes], Awaitable[Sequence[MailEvent | None]]]


@router.post(
    f"{MAIL_EVENTS}ses",
    summary="Receive events of Amazon SES",
    response_description="The events are stored, or were before.",
    response_class=Response,
    responses=_RESPONSES,
)
async def receive_ses(request: Request, app_state: AppStateDep) -> Response:
    """For Amazon SNS alone, which publishes the events of a configuration set: 200 says that they are stored.

    Confirms the subscription of a topic of `SES_TOPIC_ARNS` by itself.
    """
    keys = reference_keys(request.app.state.settings)

    async def read(body: bytes) -> list[MailEvent | None]:
        message = await app_state.sns.verify(body)
        if message["Type"] == NOTIFICATION:
            return [read_ses(message["Message"], message["MessageId"], keys)]
        if message["Type"] == "SubscriptionConfirmation":
            await app_state.sns.confirm(message)
        return []

    return await _receive(request, app_state, "ses", read)


@router.post(
    f"{MAIL_EVENTS}sendgrid",
    summary="Receive events of SendGrid",
    response_description="The events are stored, or were before.",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_SENDGRID_HEADERS,
)
async def receive_sendgrid(request: Request, app_state: AppStateDep) -> Response:
    """For SendGrid's signed event webhook alone: 200 says that the events are stored. The body is at most 1 MiB."""
    settings, headers = request.app.state.settings, request.headers

    async def read(body: bytes) -> list[MailEvent | None]:
        if settings.sendgrid_webhook_key is None:
            raise EventsUnsigned("SENDGRID_WEBHOOK_KEY is not set.")
        key = sendgrid.load_key(settings.sendgrid_webhook_key)
        sendgrid.verify(body, headers.get(_SIGNATURE, ""), headers.get(_TIMESTAMP, ""), key)
        return sendgrid.read_sendgrid(body, reference_keys(settings))

    return await _receive(request, app_state, "sendgrid", read)


async def _receive(request: Request, app_state: AppState, provider: str, read: Read) -> Response:
    count = partial(_count, provider)
    body = await read_body(request, app_state, count)
    try:
        events = await read(body)
    except EventsUnsigned as error:
        count("unsigned")
        raise unauthorized(str(error)) from None
    except EventsUnverified as error:
        count("unverified")
        raise ProblemError("unavailable", f"{error}. Try again later.", PAUSE) from None
    ours = [event for event in events if event is not None]
    count("foreign", len(events) - len(ours))
    with_outcome = [event for event in ours if event.outcome is not None]
    if with_outcome:
        resources = app_state.resources
        new = await store_events(resources.db, app_state.inbox, provider, with_outcome)
        count("repeated", len(with_outcome) - new)
        count("stored", new)
    return Response()


def _count(provider: str, result: str, by: int = 1) -> None:
    if by:
        COUNTED.labels(provider, result).inc(by)
