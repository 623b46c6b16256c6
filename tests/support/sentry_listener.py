"""A server in Sentry's place that stores the envelopes of the SDK for tests."""

import asyncio
import gzip
import json
from typing import Any

import sentry_sdk
from starlette.types import Receive, Scope, Send

from tests.support.waiting import wait_until

Item = tuple[str, dict[str, Any]]
PUBLIC_KEY = "0123456789abcdef0123456789abcdef"


class SentryListener:
    """An ASGI application; `address` is where it is served."""

    def __init__(self) -> None:
        self.address = ""
        self.items: list[Item] = []
        """The type and the payload of each item of each envelope."""
        self.sampling: list[dict[str, str]] = []
        """The trace in each envelope's header, if it has one."""
        self.raw = b""
        """All received bytes, uncompressed."""

    @property
    def dsn(self) -> str:
        """With a key like Sentry's, which looks like a secret and is none."""
        return self.address.replace("://", f"://{PUBLIC_KEY}@") + "/1"

    def of_type(self, item_type: str) -> list[dict[str, Any]]:
        return [payload for each, payload in self.items if each == item_type]

    async def wait_for(self, item_type: str, count: int = 1) -> list[dict[str, Any]]:
        """The payloads of this type, once there are so many."""

        async def have_arrived() -> bool:
            await asyncio.to_thread(sentry_sdk.flush, 1)
            return len(self.of_type(item_type)) >= count

        await wait_until(have_arrived, f"{count} of {item_type!r} did not arrive")
        return self.of_type(item_type)

    def errors(self) -> list[tuple[str, str]]:
        """Type and text of each event's innermost exception."""
        found = [event["exception"]["values"][-1] for event in self.of_type("event") if "exception" in event]
        return [(each["type"], each["value"]) for each in found]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.store(gzip.decompress(body) if dict(scope["headers"]).get(b"content-encoding") == b"gzip" else body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})

    def store(self, envelope: bytes) -> None:
        """Parse an envelope: https://develop.sentry.dev/sdk/data-model/envelopes/."""
        self.raw += envelope
        head, rest = envelope.split(b"\n", 1)
        self.sampling += [sampling] if (sampling := json.loads(head).get("trace")) else []
        while rest.strip():
            head, rest = rest.split(b"\n", 1)
            header = json.loads(head)
            length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
            payload, rest = rest[:length], rest[length:].lstrip(b"\n")
            self.items.append((header["type"], json.loads(payload)))
