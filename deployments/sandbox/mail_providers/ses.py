"""The simulated Amazon SES, API v2: `POST /ses/v2/email/outbound-emails` and the certificate and URLs of its SNS."""

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import formatdate, parseaddr
from secrets import token_hex
from typing import Final
from uuid import uuid4

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.sandbox.mail_providers import ACCESS_KEY, CONFIGURATION_SET, REGION, SECRET_KEY, mail_urls
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
from deployments.sandbox.mail_providers.ses_events import SnsTopic, ses_event
from deployments.sandbox.mail_providers.webhook_sender import WebhookSender
from deployments.sandbox.mailbox.messages import Mailbox

MAX_RAW_BYTES: Final = 40 * 2**20
_MAX_LINE: Final = 1_000
_MAX_SKEW: Final = timedelta(minutes=5)
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?"
    r"Signature=([0-9a-f]{64})"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_LOCAL_PART: Final = re.compile(r"[!-~]+")
_KINDS: Final = ProviderFaultKind


class _Strict(BaseModel):
    """A structure of the API; unlike Amazon's, unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Raw(_Strict):
    Data: str


class _Content(_Strict):
    Raw: _Raw


class _Destination(_Strict):
    ToAddresses: list[str]


class _Tag(_Strict):
    Name: str
    Value: str


class _SendEmail(_Strict):
    FromEmailAddress: str
    Destination: _Destination
    Content: _Content
    ConfigurationSetName: str | None = None
    EmailTags: list[_Tag] = []


class SesError(Exception):
    """An error as Amazon's REST JSON services answer it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.response = JSONResponse(
            {"__type": code, "message": message}, status, headers={"x-amzn-errortype": f"{code}:"}
        )


class SimulatedSes:
    """The provider: its faults, and the topic of its events."""

    def __init__(self, mailbox: Mailbox, events_url: str | None) -> None:
        self.faults = ProviderFaults()
        self.sender = WebhookSender(events_url)
        self._has_events = events_url is not None
        self._mailbox = mailbox
        self._topic = SnsTopic(self.sender)

    def router(self) -> APIRouter:
        """The routes, under `/ses`."""
        router = APIRouter(prefix="/ses")
        add_fault_routes(router, self.faults)

        @router.get("")
        async def describe(request: Request) -> dict[str, str]:
            """MAIL_URL for a client."""
            return {"mail_url": mail_urls(str(request.base_url).rstrip("/"))["ses"]}

        @router.post("/v2/email/outbound-emails")
        async def send_email(request: Request) -> Response:
            try:
                return await self._send(request)
            except SesError as error:
                return error.response

        @router.get(f"/{self._topic.certificate_name}")
        async def certificate() -> Response:
            return Response(self._topic.certificate, media_type="application/x-pem-file")

        @router.get("/sns")
        async def subscription(request: Request) -> Response:
            """The SubscribeURL."""
            query = request.query_params
            if query.get("Action") != "ConfirmSubscription" or not self._topic.confirm(query.get("Token", "")):
                raise HTTPException(400, "Invalid token")
            return Response("<ConfirmSubscriptionResponse/>", media_type="text/xml")

        return router

    async def _send(self, request: Request) -> Response:
        body = await request.body()
        verify_signature(request.method, str(request.url), request.headers, body)
        email = _parse(body)
        recipient, fault = email.Destination.ToAddresses[0], self._reply_fault(email)
        if fault is _KINDS.HANG:
            await wait_for_disconnect(request)
            return Response(status_code=500)
        mail = self._accept(email, recipient, f"{request.base_url}ses")
        if fault is _KINDS.DROP:
            hang_up(request)
        if fault is _KINDS.FAIL:
            raise SesError(500, "InternalFailure", "The request processing has failed because of an unknown error.")
        return JSONResponse({"MessageId": mail.provider_id})

    def _reply_fault(self, email: _SendEmail) -> ProviderFaultKind | None:
        """The fault of the reply that the caller has to simulate; others are raised."""
        recipient, sender = email.Destination.ToAddresses[0], email.FromEmailAddress
        kinds = [kind for kind in _KINDS if kind not in _EVENT_FAULTS]
        found = self.faults.use([recipient], *kinds)
        kind = found.kind if found else None
        if kind is _KINDS.UNVERIFIED or not is_verified(sender):
            raise _not_verified(sender)
        if kind in _REFUSALS:
            raise SesError(*_REFUSALS[kind])
        return kind

    def _accept(self, email: _SendEmail, recipient: str, base_url: str) -> AcceptedMail:
        provider_id = f"0107{token_hex(6)}-{uuid4()}-000000"
        message_id, raw = f"<{provider_id}@{REGION}.amazonses.com>", b64decode(email.Content.Raw.Data)
        for name, value in {"Message-ID": message_id, "Date": formatdate()}.items():
            raw = _replace_header(raw, name, value)
        tags = {tag.Name: tag.Value for tag in email.EmailTags}
        mail = AcceptedMail(provider_id, message_id, email.FromEmailAddress, recipient, tags, now())
        self._mailbox.add(f"{provider_id}@{REGION}.amazonses.com", email.Destination.ToAddresses, raw)
        if email.ConfigurationSetName and self._has_events:

            async def publish(event: PlannedEvent) -> None:
                content = ses_event(event.kind, mail, now())
                await self._topic.publish(content, base_url, copies=event.copies, forged=event.forged)

            start_events(mail, self.faults, self.sender, publish)
        return mail


_EVENT_FAULTS: Final = frozenset(
    {_KINDS.BOUNCE, _KINDS.SOFT_BOUNCE, _KINDS.COMPLAIN, _KINDS.DUPLICATE, _KINDS.REORDER, _KINDS.FORGE}
)
_REFUSALS: Final = {
    _KINDS.TOO_MANY_REQUESTS: (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    _KINDS.UNAVAILABLE: (503, "ServiceUnavailableException", "Service is unable to handle request."),
    _KINDS.REFUSE: (400, "BadRequestException", "Local address contains control or whitespace"),
    _KINDS.REJECT: (400, "MessageRejected", "The message can't be sent because it contains invalid content."),
}


def verify_signature(method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Recompute the signature (version 4) of a request.

    Raises:
        SesError: It is missing, too old, of another key or region, or not the request's.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise SesError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    key, date, region, service, names, signature = found.groups()
    if key != ACCESS_KEY:
        raise SesError(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if (region, service) != (REGION, "ses"):
        message = f"Credential should be scoped to a valid region, not '{region}', and to service 'ses'."
        raise SesError(403, "InvalidSignatureException", message)
    signed, timestamp = names.split(";"), headers.get("x-amz-date", "")
    if {"host", "x-amz-date"} - set(signed) or not _is_recent(timestamp) or not timestamp.startswith(date):
        raise SesError(403, "InvalidSignatureException", "Signature expired or not of host and date.")
    request = AWSRequest(method, url, headers={name: headers.get(name, "") for name in signed}, data=body)
    request.context["timestamp"] = timestamp
    signer = SigV4Auth(ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, None), service, region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if signature != expected:
        message = "The request signature we calculated does not match the signature you provided."
        raise SesError(403, "InvalidSignatureException", message)


def _is_recent(timestamp: str) -> bool:
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - signed_at) <= _MAX_SKEW


def _parse(body: bytes) -> _SendEmail:
    try:
        email = _SendEmail.model_validate_json(body)
        raw = b64decode(email.Content.Raw.Data, validate=True)
    except ValidationError as error:
        problems = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors(include_input=False))
        raise SesError(400, "BadRequestException", problems) from None
    except ValueError:
        raise SesError(400, "SerializationException", "Data is not base64") from None
    if email.ConfigurationSetName not in {None, CONFIGURATION_SET}:
        message = f"Configuration set <{email.ConfigurationSetName}> does not exist."
        raise SesError(404, "NotFoundException", message)
    if not all(_TAG.fullmatch(text) for tag in email.EmailTags for text in (tag.Name, tag.Value)):
        raise SesError(400, "BadRequestException", "Invalid tag: only ASCII letters, numbers, _ and - are allowed.")
    if len(email.Destination.ToAddresses) != 1:
        raise SesError(400, "BadRequestException", "Recipient count is not 1.")
    _check_address(email.Destination.ToAddresses[0])
    _check_message(email, raw)
    return email


def _check_address(address: str) -> None:
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise SesError(400, "BadRequestException", "Missing final '@domain'")
    if not _LOCAL_PART.fullmatch(local):
        raise SesError(400, "BadRequestException", "Local address contains control or whitespace")
    if not domain.isascii():
        raise SesError(400, "BadRequestException", "Domain contains illegal character")


def _check_message(email: _SendEmail, raw: bytes) -> None:
    if len(raw) > MAX_RAW_BYTES:
        raise SesError(400, "BadRequestException", f"Message length is more than {MAX_RAW_BYTES} bytes long.")
    if max(map(len, raw.split(b"\r\n"))) > _MAX_LINE:
        raise SesError(400, "BadRequestException", "A line of the message is longer than 1,000 characters.")
    message = message_from_bytes(raw)
    shown = parseaddr(message["From"] or "")[1]
    if not is_verified(shown):
        raise _not_verified(shown)
    if not raw.partition(b"\r\n\r\n")[0].isascii():
        raise SesError(400, "BadRequestException", "Headers must be ASCII.")
    if parseaddr(message["To"] or "")[1] != email.Destination.ToAddresses[0]:
        raise SesError(400, "BadRequestException", "Header To is not the destination.")


def _replace_header(raw: bytes, name: str, value: str) -> bytes:
    """The message with a header replaced or added, and all else as it was."""
    header, separator, body = raw.partition(b"\r\n\r\n")
    others = re.sub(rf"(?im)^{name}:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)".encode(), b"", header)
    return f"{name}: {value}\r\n".encode() + others + separator + body


def _not_verified(address: str) -> SesError:
    failed = f"The following identities failed the check in region {REGION.upper()}: {address}"
    return SesError(400, "MessageRejected", f"Email address is not verified. {failed}")
