"""The simulated SendGrid, API v3: `POST /sendgrid/v3/mail/send`."""

import hmac
import time
from base64 import b64decode
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from secrets import token_urlsafe
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.sandbox.mail_providers import API_KEY, mail_urls
from deployments.sandbox.mail_providers.accepted import AcceptedMail, PlannedEvent
from deployments.sandbox.mail_providers.faults import ProviderFaultKind, ProviderFaults
from deployments.sandbox.mail_providers.provider import (
    add_fault_routes,
    hang_up,
    is_verified,
    now,
    start_events,
    wait_for_disconnect,
)
from deployments.sandbox.mail_providers.sendgrid_events import EventWebhook, sendgrid_event
from deployments.sandbox.mail_providers.webhook_sender import WebhookSender
from deployments.sandbox.mailbox.messages import Mailbox

MAX_BYTES: Final = 30 * 2**20
_MAX_CUSTOM_ARGUMENTS: Final = 10_000
_RESERVED_HEADERS: Final = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    }
)
_KINDS: Final = ProviderFaultKind
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Address(_Strict):
    email: str
    name: str | None = None


class _Personalization(_Strict):
    to: Annotated[list[_Address], Field(min_length=1, max_length=1)]
    custom_args: dict[str, str] = {}


class _Content(_Strict):
    type: Text
    value: Text


class _Attachment(_Strict):
    content: Text
    type: Text
    filename: Text
    disposition: Literal["inline", "attachment"] = "attachment"
    content_id: str | None = None


class _Switch(_Strict):
    enable: bool
    enable_text: bool | None = None


class _Tracking(_Strict):
    click_tracking: _Switch | None = None
    open_tracking: _Switch | None = None
    subscription_tracking: _Switch | None = None


class _MailSend(_Strict):
    personalizations: Annotated[list[_Personalization], Field(min_length=1, max_length=1)]
    sender: Annotated[_Address, Field(alias="from")]
    reply_to: _Address | None = None
    subject: Text
    content: Annotated[list[_Content], Field(min_length=1)]
    headers: dict[str, str] = {}
    attachments: list[_Attachment] = []
    categories: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=10)] = []
    tracking_settings: _Tracking | None = None

    @property
    def recipient(self) -> str:
        """The one address of the one personalization."""
        return self.personalizations[0].to[0].email


class SendGridError(Exception):
    """An error as SendGrid answers it."""

    def __init__(
        self, status: int, message: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        errors = [{"message": message, "field": field, "help": None}]
        self.response = JSONResponse({"errors": errors}, status, headers=headers)


class SimulatedSendGrid:
    """The provider: its faults, and the webhook of its events."""

    def __init__(self, mailbox: Mailbox, events_url: str | None) -> None:
        self.faults = ProviderFaults()
        self.sender = WebhookSender(events_url)
        self._has_events = events_url is not None
        self._mailbox = mailbox
        self._webhook = EventWebhook(self.sender)

    def router(self) -> APIRouter:
        """The routes, under `/sendgrid`."""
        router = APIRouter(prefix="/sendgrid")
        add_fault_routes(router, self.faults)

        @router.get("")
        async def describe(request: Request) -> dict[str, str]:
            """MAIL_URL for a client, and the public key for a receiver of events."""
            mail_url = mail_urls(str(request.base_url).rstrip("/"))["sendgrid"]
            return {"mail_url": mail_url, "public_key": self._webhook.public_key}

        @router.get("/v3/user/webhooks/event/settings/signed")
        async def public_key() -> dict[str, str]:
            """The public key of the signed event webhook: DER in base64."""
            return {"id": "sandbox", "public_key": self._webhook.public_key}

        @router.post("/v3/mail/send")
        async def send_mail(request: Request) -> Response:
            try:
                return await self._send(request)
            except SendGridError as error:
                return error.response

        return router

    async def _send(self, request: Request) -> Response:
        body = await request.body()
        authorization = request.headers.get("authorization", "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {API_KEY}".encode()):
            raise SendGridError(401, "The provided authorization grant is invalid, expired, or revoked")
        mail = _parse(body)
        fault = self._reply_fault(mail)
        if fault is _KINDS.HANG:
            await wait_for_disconnect(request)
            return Response(status_code=500)
        provider_id = token_urlsafe(16)
        self._accept(mail, provider_id)
        if fault is _KINDS.DROP:
            hang_up(request)
        if fault is _KINDS.FAIL:
            raise SendGridError(500, "internal error")
        return Response(status_code=202, headers={"X-Message-Id": provider_id})

    def _reply_fault(self, mail: _MailSend) -> ProviderFaultKind | None:
        """The fault of the reply that the caller has to simulate; others are raised."""
        replies = (_KINDS.TOO_MANY_REQUESTS, _KINDS.UNAVAILABLE, _KINDS.FAIL, _KINDS.HANG, _KINDS.DROP, _KINDS.REFUSE)
        found = self.faults.use([mail.recipient], *replies, _KINDS.REJECT, _KINDS.UNVERIFIED)
        kind = found.kind if found else None
        if kind is _KINDS.UNVERIFIED or not is_verified(mail.sender.email):
            message = "The from address does not match a verified Sender Identity. Mail cannot be sent until this error"
            raise SendGridError(403, f"{message} is resolved.", "from")
        match kind:
            case _KINDS.TOO_MANY_REQUESTS:
                reset = str(int(time.time()) + 1)
                limits = {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
                raise SendGridError(429, "too many requests", headers=limits)
            case _KINDS.UNAVAILABLE:
                raise SendGridError(503, "service unavailable")
            case _KINDS.REFUSE:
                raise SendGridError(400, "Does not contain a valid address.", "personalizations.0.to.0.email")
            case _KINDS.REJECT:
                raise SendGridError(400, "The content value must be acceptable.", "content.0.value")
        return kind

    def _accept(self, sent: _MailSend, provider_id: str) -> None:
        message = _as_message(sent, provider_id)
        self._mailbox.add(f"bounces+{provider_id}@sendgrid.example", [sent.recipient], message.as_bytes(policy=SMTP))
        marks = sent.personalizations[0].custom_args
        mail = AcceptedMail(provider_id, message["Message-ID"], sent.sender.email, sent.recipient, marks, now())
        if self._has_events:

            async def publish(event: PlannedEvent) -> None:
                content = [sendgrid_event(event.kind, mail, now())] * event.copies
                await self._webhook.send(content, forged=event.forged)

            start_events(mail, self.faults, self.sender, publish)


def _parse(body: bytes) -> _MailSend:
    if len(body) > MAX_BYTES:
        raise SendGridError(413, "Payload too large")
    try:
        mail = _MailSend.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise SendGridError(400, first["msg"], ".".join(map(str, first["loc"]))) from None
    types = [part.type for part in mail.content]
    if types not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]):
        message = "If present, text/plain must be first, followed by text/html, followed by any other content."
        raise SendGridError(400, message, "content")
    if reserved := _RESERVED_HEADERS & {name.lower() for name in mail.headers}:
        raise SendGridError(400, f"The header {min(reserved)} is reserved.", "headers")
    if not all(name.isascii() and value.isascii() for name, value in mail.headers.items()):
        raise SendGridError(400, "Headers must be ASCII.", "headers")
    if not _is_address(mail.recipient):
        raise SendGridError(400, "Does not contain a valid address.", "personalizations.0.to.0.email")
    for field, address in (("from", mail.sender), ("reply_to", mail.reply_to)):
        if address and not _is_address(address.email):
            raise SendGridError(400, "Does not contain a valid address.", f"{field}.email")
    if sum(len(name) + len(value) for name, value in mail.personalizations[0].custom_args.items()) > (
        _MAX_CUSTOM_ARGUMENTS
    ):
        raise SendGridError(400, "Custom arguments must be under 10,000 bytes.", "personalizations.0.custom_args")
    return mail


def _is_address(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    return address.isascii() and bool(local) and "." in domain and not any(map(str.isspace, address))


def _as_message(mail: _MailSend, provider_id: str) -> EmailMessage:
    """The message that SendGrid makes of the parts."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=mail.sender.name or "", addr_spec=mail.sender.email)
    message["To"], message["Subject"] = mail.recipient, mail.subject
    if mail.reply_to:
        message["Reply-To"] = Address(display_name=mail.reply_to.name or "", addr_spec=mail.reply_to.email)
    for name, value in ({"Message-ID": f"<{provider_id}@geopod-ismtpd-1>"} | mail.headers).items():
        message[name] = value
    first, *others = mail.content
    message.set_content(first.value, subtype=first.type.partition("/")[2])
    for part in others:
        message.add_alternative(part.value, subtype=part.type.partition("/")[2])
    *_, last = message.iter_parts() if others else [message]
    for file in mail.attachments:
        kind, _, subtype = file.type.partition("/")
        cid = f"<{file.content_id}>" if file.content_id else None
        data = b64decode(file.content)
        last.add_related(data, kind, subtype, cid=cid, disposition=file.disposition, filename=file.filename)
    return message
