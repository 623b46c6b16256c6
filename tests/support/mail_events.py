"""Events as mail providers send them: Amazon SNS with a certificate of its own, and SendGrid's signed event webhook."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, random_serial_number
from cryptography.x509.oid import NameOID

TOPIC_ARN: Final = "arn:aws:sns:eu-central-1:123456789012:mail"
_FIELDS: Final = ("Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type")


class Sns:
    """A signer as Amazon SNS, and a server for its certificate and its confirmations."""

    def __init__(self, valid_from: datetime | None = None) -> None:
        self._key = generate_rsa_key(public_exponent=65_537, key_size=2_048)
        begin = valid_from or datetime.now(UTC) - timedelta(days=1)
        name = Name([NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        builder = CertificateBuilder(name, name, self._key.public_key(), random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
        self.certificate = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)
        self.origin = ""
        self.requested: list[str] = []
        """The paths that were requested."""
        self.answer = 200

    def message(self, text: object, **changed: str | None) -> dict[str, str]:
        """A signed notification; of the fields, those of `changed` have other values before it is signed."""
        fields: dict[str, str | None] = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": TOPIC_ARN,
            "Message": text if isinstance(text, str) else json.dumps(text),
            "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}",
            "SignatureVersion": "2",
            "SigningCertURL": f"{self.origin}/certificate.pem",
        }
        message = {name: value for name, value in (fields | changed).items() if value is not None}
        signed = "".join(f"{name}\n{message[name]}\n" for name in _FIELDS if name in message)
        signature = self._key.sign(signed.encode(), PKCS1v15(), SHA256())
        return message | {"Signature": base64.b64encode(signature).decode()}

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
        self._key = generate_ec_key(SECP256R1())
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = base64.b64encode(der).decode()

    def headers(self, body: bytes, age: float = 0) -> dict[str, str]:
        """The headers of a body that was signed so many seconds ago."""
        timestamp = str(int(time.time() - age))
        signature = self._key.sign(timestamp.encode() + body, ECDSA(SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }


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
