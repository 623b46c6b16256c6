"""Events of the simulated SendGrid: their content, and the signed event webhook.

The content is that of the "Event Webhook Reference" in Twilio's documentation.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any

from deployments.sandbox.mail_providers.accepted import AcceptedMail, EventKind
from deployments.sandbox.mail_providers.events import make_sendgrid_key, public_key_text, sandbox_key, sign_sendgrid
from deployments.sandbox.mail_providers.webhook_sender import WebhookSender

_KINDS: Mapping[EventKind, Mapping[str, str]] = {
    EventKind.SEND: {"event": "processed"},
    EventKind.DELIVERY: {"event": "delivered", "response": "250 OK"},
    EventKind.HARD_BOUNCE: {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 user unknown",
        "bounce_classification": "Invalid Address",
    },
    EventKind.SOFT_BOUNCE: {
        "event": "bounce",
        "type": "blocked",
        "status": "4.2.2",
        "reason": "452 4.2.2 mailbox full",
        "bounce_classification": "Mailbox Unavailable",
    },
    EventKind.COMPLAINT: {"event": "spamreport"},
}


def sendgrid_event(kind: EventKind, mail: AcceptedMail, now: datetime) -> dict[str, Any]:
    """The event as SendGrid sends it, in an array: custom arguments are fields of the event."""
    return {
        **mail.marks,
        "email": mail.recipient,
        "timestamp": int(now.timestamp()),
        "smtp-id": mail.message_id,
        "category": ["wishcraft"],
        "sg_event_id": token_urlsafe(30),
        "sg_message_id": f"{mail.provider_id}.recvd-5f54b5d587-8c2ps-1-632B5EAA-1A.0",
        **_KINDS[kind],
    }


class EventWebhook:
    """The signed event webhook."""

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._key, self._other_key = sandbox_key(), make_sendgrid_key()
        self.public_key = public_key_text(self._key)

    async def send(self, events: Sequence[Mapping[str, Any]], *, forged: bool = False) -> None:
        """Send the events; `forged` signs them with another key."""
        body = json.dumps(events).encode()
        signed = sign_sendgrid(body, str(int(datetime.now(UTC).timestamp())), self._other_key if forged else self._key)
        await self._sender.send(body, {"Content-Type": "application/json", **signed})
