"""The SendGrid provider, API v3: `POST /v3/mail/send` with the parts of the mail as JSON.

SendGrid passes the Message-ID on as one of the mail's headers. The mail's reference goes along as the custom argument
`wishcraft`, which every event of the mail repeats. SendGrid has no idempotency key: a mail whose reply was lost may
arrive twice if it is sent again. It reports missing mailboxes by events alone; in reply to a request it refuses only
addresses that no mailbox can have.
"""

import json
import re
from base64 import b64encode
from typing import Any, Final

import httpx

from wishcraft.domain import mail_references
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    MailRefused,
    MailUnavailable,
    OwnSenderRefused,
    SenderRefused,
    WishCraftError,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.mime import display_name, machine_headers, short_subject
from wishcraft.mail.providers.http_api import (
    LATER_STATUSES,
    MAX_PAUSE_SECONDS,
    SETTING_STATUSES,
    HttpApi,
    server_error,
    with_ascii_recipient,
)
from wishcraft.urls.mail import SendGridAccount

CATEGORY: Final = "wishcraft"
_NAME: Final = "SendGrid"
_PATH: Final = "/v3/mail/send"
_FIELD: Final = re.compile(r"[a-z0-9_.]{1,60}", re.ASCII)
_RECIPIENT_FIELD: Final = re.compile(r"personalizations\.\d+\.to\.\d+\.email", re.ASCII)
_NO_TRACKING: Final = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},  # it would replace our List-Unsubscribe
}


class SendGridMailer:
    """A `Mailer` over SendGrid. It connects on the first send."""

    def __init__(
        self,
        account: SendGridAccount,
        sender: str | None,
        timeout: httpx.Timeout,
        *,
        max_pause: float = MAX_PAUSE_SECONDS,
    ) -> None:
        """A mailer that is not connected yet.

        Args:
            account: From MAIL_URL.
            sender: The normalised address in `From`, a verified sender. None in a process that sends no mail.
            timeout: Of each request.
            max_pause: Seconds that a send waits at a time while SendGrid throttles.
        """
        self._account = account
        self._sender = sender or ""
        self._api = HttpApi(_NAME, timeout, _is_throttled, max_pause)

    async def send(self, mail: Mail) -> None:
        """See `Mailer.send`."""
        if not self._sender:
            raise ConfigurationError("MAIL_FROM must be set to send mail")
        body = json.dumps(_payload(with_ascii_recipient(mail, _NAME), self._sender)).encode()
        response = await self._api.post(lambda: self._request(body))
        if not response.is_success:
            raise _failure(response, has_own_sender=mail.sender is not None)

    async def close(self) -> None:
        """See `Mailer.close`."""
        await self._api.close()

    async def _request(self, body: bytes) -> httpx.Request:
        authorization = f"Bearer {self._account.key.get_secret_value()}"
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        return httpx.Request("POST", f"{self._account.endpoint}{_PATH}", headers=headers, content=body)


def _payload(mail: Mail, sender: str) -> dict[str, Any]:
    """The body of the request."""
    to: dict[str, Any] = {"to": [{"email": mail.recipient}]}
    if mail.reference:
        to["custom_args"] = {mail_references.NAME: mail.reference}
    payload: dict[str, Any] = {
        "personalizations": [to],
        "from": {"email": mail.sender or sender, "name": display_name(mail)},
        "subject": short_subject(mail),
        "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
        "headers": machine_headers(mail),
        "categories": [CATEGORY],
        "tracking_settings": _NO_TRACKING,
    }
    if mail.reply_to:
        payload["reply_to"] = {"email": mail.reply_to, "name": display_name(mail)}
    if mail.inline_images:
        payload["attachments"] = [
            {
                "content": b64encode(image.png).decode(),
                "type": "image/png",
                "filename": image.name,
                "disposition": "inline",
                "content_id": image.name,
            }
            for image in mail.inline_images
        ]
    return payload


def _is_throttled(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS


def _failure(response: httpx.Response, *, has_own_sender: bool) -> WishCraftError:
    """The error for a response that accepts no mail; its message has status and field, never SendGrid's text."""
    status, field = response.status_code, _field(response)
    shown = f"{status} {field}".strip()
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return server_error(_NAME, response)
    if status in LATER_STATUSES:
        return MailUnavailable(f"SendGrid takes no mail for now: {shown}")
    if has_own_sender and field.partition(".")[0] == "from":
        return OwnSenderRefused(f"SendGrid refuses the sender: {shown}")
    if status in SETTING_STATUSES or status < httpx.codes.BAD_REQUEST or field.partition(".")[0] == "from":
        return SenderRefused(f"SendGrid refuses the key of MAIL_URL or the sender: {shown}")
    if _RECIPIENT_FIELD.fullmatch(field):
        return AddressRefused(f"SendGrid refuses the address: {shown}")
    return MailRefused(f"SendGrid refuses the mail: {shown}")


def _field(response: httpx.Response) -> str:
    """The field that the first error names; empty if there is none."""
    try:
        field = response.json()["errors"][0]["field"]
    except (ValueError, LookupError, TypeError):
        return ""
    return field if isinstance(field, str) and _FIELD.fullmatch(field) else ""
