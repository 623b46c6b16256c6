"""Events as mail providers send them: Amazon SNS with a certificate of its own, and SendGrid's signed event webhook."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from uuid import uuid4

from deployments.sandbox.mail_providers.events import (
    make_sendgrid_key,
    make_sns_key,
    public_key_text,
    sign_sendgrid,
    sign_sns,
)

TOPIC_ARN: Final = "arn:aws:sns:eu-central-1:123456789012:mail"


class Sns:
    """A signer as Amazon SNS, and a server for its certificate and its confirmations."""

    def __init__(self, valid_from: datetime | None = None) -> None:
        self._key, self.certificate = make_sns_key(valid_from)
        self.origin = ""
        self.requested: list[str] = []
        """The paths that were requested."""
        self.answer = 200

    def message(self, text: object, **changed: str | None) -> dict[str, str]:
        """A signed notification; of the fields, those of `changed` have other values, or are left out if None."""
        fields = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": TOPIC_ARN,
            "Message": text if isinstance(text, str) else json.dumps(text),
            "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}",
            "SigningCertURL": f"{self.origin}/certificate.pem",
        }
        signed = sign_sns({**fields, **{name: value for name, value in changed.items() if value}}, self._key)
        return {name: value for name, value in (signed | changed).items() if value is not None}

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Context manager: serve on 127.0.0.1."""
        sns = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sns.requested.append(self.path)
                self.send_response(sns.answer)
                self.send_header("Location", "/certificate.pem")
                self.end_headers()
                self.wfile.write(sns.certificate)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        self.origin = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class SendGrid:
    """A signer as SendGrid."""

    def __init__(self) -> None:
        self._key = make_sendgrid_key()
        self.key = public_key_text(self._key)

    def headers(self, body: bytes, age: float = 0) -> dict[str, str]:
        """The headers of a body that was signed so many seconds ago."""
        return sign_sendgrid(body, str(int(time.time() - age)), self._key)


def ses_event(kind: str, token: str, **part: Any) -> dict[str, Any]:
    """An event of Amazon SES about the mail with this reference; `part` is what is particular to its kind."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    place = "deliveryDelay" if kind == "DeliveryDelay" else kind.lower()
    mail = {"timestamp": now, "messageId": "0100", "tags": {"ses:operation": ["SendEmail"], "wishcraft": [token]}}
    return {"eventType": kind, "mail": mail, place: {"timestamp": now, **part}}


def sendgrid_event(kind: str, token: str, **fields: Any) -> dict[str, Any]:
    """An event of SendGrid about the mail with this reference."""
    event = {"email": "someone@example.com", "timestamp": int(time.time()), "event": kind, "wishcraft": token}
    return event | {"sg_event_id": uuid4().hex, "sg_message_id": "14c5.filter1"} | fields
