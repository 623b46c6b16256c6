"""Events of the simulated Amazon SES, published by SNS: their content, and a topic with one subscription.

The content is that of "Contents of event data that Amazon SES publishes to Amazon SNS" in Amazon's documentation.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex
from typing import Any
from uuid import uuid4

from deployments.sandbox.mail_providers import ACCOUNT, CONFIGURATION_SET, REGION, TOPIC_ARN
from deployments.sandbox.mail_providers.accepted import AcceptedMail, EventKind
from deployments.sandbox.mail_providers.events import make_sns_key, sign_sns
from deployments.sandbox.mail_providers.webhook_sender import WebhookSender


def ses_event(kind: EventKind, mail: AcceptedMail, now: datetime) -> dict[str, Any]:
    """The event as SES publishes it through a configuration set."""
    at = _timestamp(now)
    match kind:
        case EventKind.SEND:
            return {"eventType": "Send", "mail": _mail(mail), "send": {}}
        case EventKind.DELIVERY:
            delivery = {
                "timestamp": at,
                "processingTimeMillis": 500,
                "recipients": [mail.recipient],
                "smtpResponse": "250 2.6.0 Message received",
                "reportingMTA": "mta.example.com",
            }
            return {"eventType": "Delivery", "mail": _mail(mail), "delivery": delivery}
        case EventKind.COMPLAINT:
            complaint = {
                "complainedRecipients": [{"emailAddress": mail.recipient}],
                "timestamp": at,
                "feedbackId": f"0107{token_hex(6)}-{uuid4()}-000000",
                "complaintSubType": None,
                "userAgent": "ExampleCorp Feedback Loop (V0.01)",
                "complaintFeedbackType": "abuse",
                "arrivalDate": at,
            }
            return {"eventType": "Complaint", "mail": _mail(mail), "complaint": complaint}
    return {"eventType": "Bounce", "bounce": _bounce(kind, mail, at), "mail": _mail(mail)}


class SnsTopic:
    """A topic with one subscription, which its endpoint has to confirm before it gets anything else."""

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._key, self.certificate = make_sns_key()
        self._other_key, _ = make_sns_key()
        self.certificate_name = f"SimpleNotificationService-{sha256(self.certificate).hexdigest()[:32]}.pem"
        """Of its own, as that of each certificate: receivers remember the certificate by its URL."""
        self._token = token_hex(64)
        self._confirmed = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    def confirm(self, token: str) -> bool:
        """Confirm the subscription; False if the token is another."""
        if token != self._token:
            return False
        self._confirmed.set()
        return True

    async def publish(self, event: Mapping[str, Any], base_url: str, *, copies: int = 1, forged: bool = False) -> None:
        """Publish an event, once the subscription is confirmed: `copies` times; `forged` signs it with another key."""
        envelope = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": TOPIC_ARN,
            "Message": json.dumps(event),
            "Timestamp": _timestamp(datetime.now(UTC)),
            "SigningCertURL": f"{base_url}/{self.certificate_name}",
            "UnsubscribeURL": f"{base_url}/sns?Action=Unsubscribe&SubscriptionArn={TOPIC_ARN}:{uuid4()}",
        }
        if not self._confirmed.is_set() and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask_for_confirmation(base_url))
        await self._confirmed.wait()
        for _ in range(copies):
            await self._send(sign_sns(envelope, self._other_key if forged else self._key))

    async def _ask_for_confirmation(self, base_url: str) -> None:
        envelope = {
            "Type": "SubscriptionConfirmation",
            "MessageId": str(uuid4()),
            "Token": self._token,
            "TopicArn": TOPIC_ARN,
            "Message": f"You have chosen to subscribe to the topic {TOPIC_ARN}.\nTo confirm the subscription, visit "
            "the SubscribeURL included in this message.",
            "SubscribeURL": f"{base_url}/sns?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}&Token={self._token}",
            "Timestamp": _timestamp(datetime.now(UTC)),
            "SigningCertURL": f"{base_url}/{self.certificate_name}",
        }
        await self._send(sign_sns(envelope, self._key))

    async def _send(self, envelope: Mapping[str, str]) -> None:
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": envelope["Type"],
            "x-amz-sns-message-id": envelope["MessageId"],
            "x-amz-sns-topic-arn": TOPIC_ARN,
        }
        await self._sender.send(json.dumps(envelope, indent=2).encode(), headers)


def _mail(mail: AcceptedMail) -> dict[str, Any]:
    tags = {"ses:operation": "SendEmail", "ses:configuration-set": CONFIGURATION_SET, **mail.marks}
    return {
        "timestamp": _timestamp(mail.accepted_at),
        "source": mail.sender,
        "sourceArn": f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{mail.sender.rpartition('@')[2]}",
        "sendingAccountId": ACCOUNT,
        "messageId": mail.provider_id,
        "destination": [mail.recipient],
        "headersTruncated": False,
        "headers": [{"name": "Message-ID", "value": mail.message_id}, {"name": "To", "value": mail.recipient}],
        "commonHeaders": {"from": [mail.sender], "to": [mail.recipient], "messageId": mail.provider_id},
        "tags": {name: [value] for name, value in tags.items()},
    }


def _bounce(kind: EventKind, mail: AcceptedMail, at: str) -> dict[str, Any]:
    is_hard = kind is EventKind.HARD_BOUNCE
    status, reason = ("5.1.1", "550 5.1.1 user unknown") if is_hard else ("4.2.2", "452 4.2.2 mailbox full")
    recipient = {
        "emailAddress": mail.recipient,
        "action": "failed",
        "status": status,
        "diagnosticCode": f"smtp; {reason}: {mail.recipient}",
    }
    return {
        "bounceType": "Permanent" if is_hard else "Transient",
        "bounceSubType": "General" if is_hard else "MailboxFull",
        "bouncedRecipients": [recipient],
        "timestamp": at,
        "feedbackId": f"0107{token_hex(6)}-{uuid4()}-000000",
        "reportingMTA": "dsn; mta.example.com",
    }


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
