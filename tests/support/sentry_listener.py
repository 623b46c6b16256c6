"""A server that takes what Sentry's SDK sends, as Sentry's own does, and lets tests look at it."""

import gzip
import json
from typing import Any

from starlette.types import Receive, Scope, Send

Item = tuple[str, dict[str, Any]]


class SentryListener:
    """An ASGI application; `address` is where it is served."""

    def __init__(self) -> None:
        self.address = ""
        self.items: list[Item] = []
        """The type and the payload of each item of each envelope."""
        self.raw = b""
        """All bytes that came, unpacked."""

    @property
    def dsn(self) -> str:
        return self.address.replace("://", "://public@") + "/1"

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [payload for each, payload in self.items if each == kind]

    def errors(self) -> list[tuple[str, str]]:
        """The kind and the text of the innermost error of each event."""
        found = [event["exception"]["values"][-1] for event in self.of_type("event") if "exception" in event]
        return [(each["type"], each["value"]) for each in found]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.take(gzip.decompress(body) if dict(scope["headers"]).get(b"content-encoding") == b"gzip" else body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})

    def take(self, envelope: bytes) -> None:
        """Parse it as https://develop.sentry.dev/sdk/data-model/envelopes/ says."""
        self.raw += envelope
        _, rest = envelope.split(b"\n", 1)
        while rest.strip():
            head, rest = rest.split(b"\n", 1)
            header = json.loads(head)
            length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
            payload, rest = rest[:length], rest[length:].lstrip(b"\n")
            self.items.append((header["type"], json.loads(payload)))
