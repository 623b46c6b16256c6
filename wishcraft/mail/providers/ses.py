"""The Amazon SES provider, API v2: `POST /v2/email/outbound-emails` with the whole message, signed by botocore.

SES replaces Message-ID and Date. So the mail's reference goes along as the message tag `wishcraft`, which every event
of the mail repeats, and as the header `X-WishCraft-Mail`. SES has no idempotency key: a mail whose reply was lost may
arrive twice if it is sent again. It reports missing mailboxes by events alone, never in reply to a request.
"""

import asyncio
import json
import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from wishcraft.domain import mail_references
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    MailRefused,
    MailUnavailable,
    OwnSenderRefused,
    SenderRefused,
    WishCraftError,
    in_words,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.mime import as_bytes, build_message
from wishcraft.mail.providers.http_api import (
    LATER_STATUSES,
    MAX_PAUSE_SECONDS,
    SETTING_STATUSES,
    HttpApi,
    server_error,
    with_ascii_recipient,
)
from wishcraft.urls.mail import SesAccount

REFERENCE_HEADER: Final = "X-WishCraft-Mail"
_NAME: Final = "Amazon SES"
_PATH: Final = "/v2/email/outbound-emails"
_THROTTLED: Final = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})
_ACCOUNT_PAUSED: Final = frozenset({"LimitExceededException", "SendingPausedException"}) | _THROTTLED
_SENDER_CODES: Final = frozenset(
    {"AccountSuspendedException", "MailFromDomainNotVerifiedException", "NotFoundException"}  # the configuration set
)
_CREDENTIAL_CODES: Final = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "NotAuthorized",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)
"""Common errors of AWS about keys, permissions and the clock, which come with 400 too."""
_IDENTITY_CODES: Final = frozenset({"AccessDeniedException", "MailFromDomainNotVerifiedException", "NotAuthorized"})
"""Codes that may be about the identity of the sender alone: policies name the identities that a key may send from."""
_NOT_VERIFIED: Final = re.compile(r"(?i)email address(?:es)? (?:is|are) not verified")
_BAD_ADDRESS: Final = re.compile(
    r"(?i)(?:missing final '@domain'|(?:local address|domain) (?:contains|starts with|ends with) )"
)
"""How SES begins its message about an address that no mailbox can have."""
_CODE: Final = re.compile(r"(?:.*#)?([A-Za-z]{1,60})(?::.*)?", re.ASCII)


class SesMailer:
    """A `Mailer` over Amazon SES in one region. It connects on the first send."""

    def __init__(
        self,
        account: SesAccount,
        sender: str | None,
        timeout: httpx.Timeout,
        *,
        max_pause: float = MAX_PAUSE_SECONDS,
    ) -> None:
        """A mailer that is not connected yet.

        Args:
            account: From MAIL_URL.
            sender: The normalised address in `From`, a verified identity. None in a process that sends no mail.
            timeout: Of each request.
            max_pause: Seconds that a send waits at a time while SES throttles.
        """
        self._account = account
        self._sender = sender or ""
        self._api = HttpApi(_NAME, timeout, _is_throttled, max_pause)
        self._credentials: Any = None  # botocore's, which has no types
        if account.access_key and account.secret_key:
            self._credentials = Credentials(account.access_key, account.secret_key.get_secret_value())

    async def send(self, mail: Mail) -> None:
        """See `Mailer.send`."""
        if not self._sender:
            raise ConfigurationError("MAIL_FROM must be set to send mail")
        body = self._body(with_ascii_recipient(mail, _NAME))
        response = await self._api.post(lambda: self._sign(body))
        if not response.is_success:
            raise _failure(response, has_own_sender=mail.sender is not None)

    async def close(self) -> None:
        """See `Mailer.close`."""
        await self._api.close()

    def _body(self, mail: Mail) -> bytes:
        message = build_message(mail, self._sender, datetime.now(UTC))
        body: dict[str, Any] = {
            "FromEmailAddress": mail.sender or self._sender,
            "Destination": {"ToAddresses": [mail.recipient]},
        }
        if mail.reference:
            message[REFERENCE_HEADER] = mail.reference
            body["EmailTags"] = [{"Name": mail_references.NAME, "Value": mail.reference}]
        if self._account.configuration_set:
            body["ConfigurationSetName"] = self._account.configuration_set
        body["Content"] = {"Raw": {"Data": b64encode(as_bytes(message, international=False)).decode()}}
        return json.dumps(body).encode()

    async def _sign(self, body: bytes) -> httpx.Request:
        """The signed request.

        Raises:
            ConfigurationError: There are no credentials.
            MailUnavailable: They cannot be renewed.
        """
        if self._credentials is None:
            self._credentials = await asyncio.to_thread(_find_credentials)
        # The credentials of an instance are renewed by a request to its metadata service.
        try:
            frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except (BotoCoreError, RuntimeError) as error:  # botocore raises the latter if they are expired when renewed
            raise MailUnavailable(f"AWS's credentials cannot be renewed: {in_words(error)}") from None
        url = f"{self._account.endpoint}{_PATH}"
        request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
        SigV4Auth(frozen, "ses", self._account.region).add_auth(request)
        return httpx.Request("POST", url, headers=dict(request.headers.items()), content=body)


def _find_credentials() -> Any:
    """The credentials of AWS's standard chain; blocks, as it may ask the instance's metadata service.

    Raises:
        ConfigurationError: There are none.
    """
    from botocore.session import Session  # it imports all of botocore

    try:
        found = Session().get_credentials()
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS's credentials cannot be read: {in_words(error)}") from None
    if found is None:
        raise ConfigurationError(
            "MAIL_URL has no access key, and neither AWS's environment variables nor the instance have one"
        )
    return found


def _is_throttled(response: httpx.Response) -> bool:
    code, message = _error(response)
    return code in _THROTTLED and "daily" not in message.lower()  # the quota of a day is not worth waiting for


def _failure(response: httpx.Response, *, has_own_sender: bool) -> WishCraftError:  # noqa: PLR0911  a list of cases
    """The error for a response that accepts no mail; its message has status and code, never SES's text."""
    status, (code, message) = response.status_code, _error(response)
    shown = f"{status} {code}".strip()
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return server_error(_NAME, response)
    if code in _ACCOUNT_PAUSED or status in LATER_STATUSES:
        return MailUnavailable(f"Amazon SES takes no mail for now: {shown}")
    if has_own_sender and (code in _IDENTITY_CODES or _NOT_VERIFIED.match(message)):
        return OwnSenderRefused(f"Amazon SES takes no mail from the sender: {shown}")
    if status in SETTING_STATUSES or code in _CREDENTIAL_CODES:
        return SenderRefused(f"Amazon SES refuses the credentials of MAIL_URL or their permissions: {shown}")
    if code in _SENDER_CODES or _NOT_VERIFIED.match(message) or status < httpx.codes.BAD_REQUEST:
        return SenderRefused(f"Amazon SES takes no mail from the sender or by the MAIL_URL: {shown}")
    if code == "BadRequestException" and _BAD_ADDRESS.match(message):
        return AddressRefused(f"Amazon SES refuses the address: {shown}")
    return MailRefused(f"Amazon SES refuses the mail: {shown}")


def _error(response: httpx.Response) -> tuple[str, str]:
    """Code and text of an error; empty if the response has none."""
    if response.is_success:
        return "", ""
    try:
        body = response.json()
    except ValueError:
        body = {}
    fields = body if isinstance(body, dict) else {}
    code = _CODE.fullmatch(response.headers.get("x-amzn-errortype") or str(fields.get("__type", "")))
    return code[1] if code else "", str(fields.get("message") or fields.get("Message") or "")
