"""ASGI middleware: request id, body limit, deadline, security headers, metrics, traces and the log context."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.middleware.request_secrets import RequestSecrets
from api.representation import CLOSE, NO_STORE, ON_EVERY_RESPONSE
from wishcraft.files import SERVED_AT
from wishcraft.observability.context import log_context
from wishcraft.observability.metrics import REQUEST_SECONDS
from wishcraft.observability.sentry import isolated, traced

LARGEST_BODY: Final = 64 * 1024
LARGEST_WEBHOOK: Final = 4 * 1024 * 1024
"""An order of 500 line items with their taxes and discounts has 1 to 2 MB."""
WEBHOOKS: Final = "/api/webhooks/shopify"
MAIL_EVENTS: Final = "/api/mail-events/"
"""The name of a mail provider follows."""
LARGEST_EVENTS: Final = 1024 * 1024
"""SendGrid sends up to 768 KB at once, SNS 256 KiB."""
_LIMITS: Final = {
    WEBHOOKS: LARGEST_WEBHOOK,
    **{f"{MAIL_EVENTS}{provider}": LARGEST_EVENTS for provider in ("ses", "sendgrid")},
}
"""The largest body of the paths that take more than `LARGEST_BODY`."""
MAX_SECONDS: Final = 10.0
"""The deadline of a response."""
MAX_FILE_SECONDS: Final = 600.0
"""The deadline of a response with a file, which may be large."""
ARRIVED: Final = "wishcraft.arrived"
"""Where a scope has the time of `time.monotonic` at which the fast path got the request."""
FAILED: Final = "wishcraft.failed"
"""Key of the error with which the fast path could not load a registry: the route does not try again."""
ADDED_HEADERS: Final = "wishcraft.headers"
"""Where a scope has headers that the response gets in any case."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Metrics count all other methods as `other`: clients can invent any number of them."""
_UNTRACED: Final = ("/health", "/metrics")
"""Frequent probes, whose traces would be all alike."""
_OF_CACHES: Final = frozenset({b"cache-control", b"etag"})
"""Without the first, only a file of the documentation has the second: caches may keep it."""
REQUEST_ID: Final = re.compile(r"[\w-]{8,64}", re.ASCII)
_REQUEST_ID_BITS: Final = 64
_cancelled: Final = set[asyncio.Future[None]]()
"""Requests past their deadline that have not ended yet. The event loop itself keeps only weak references."""


@dataclass(slots=True, eq=False)
class LimitedReceive:
    """ASGI `receive` of one request: keeps the body's parts, and refuses a body over the limit."""

    receive: Receive
    limit: int
    """In bytes."""
    parts: list[bytes] = field(default_factory=list)
    is_awaited: bool = False
    """Whether the application waits for more of the body."""
    _size: int = field(default=0, init=False)

    async def __call__(self) -> Message:
        """Receive the next message."""
        self.is_awaited = not self.parts or self.is_awaited
        message = await self.receive()
        chunk = message.get("body", b"")
        self._size += len(chunk)
        self.is_awaited = message.get("more_body", False)
        if self._size > self.limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self.too_large)
        self.parts.append(chunk)
        return message

    @property
    def too_large(self) -> str:
        """The message about a body over the limit."""
        return f"The request body is larger than {self.limit // 1024} KiB."


@dataclass(slots=True, eq=False)
class ResponseSender:
    """ASGI `send` of one request: adds the headers, and records how much of the response was sent."""

    scope: Scope
    send: Send
    request_id: str
    is_draining: bool
    is_head: bool = False
    """Whether the method is HEAD: the response of GET is sent without its body."""
    status: int = 0
    """0 until the response has started."""
    is_complete: bool = False
    is_timed_out: bool = False

    async def send_unless_timed_out(self, message: Message) -> None:
        """Send a message of the application; after the deadline, drop it."""
        if not self.is_timed_out:
            await self(message)

    async def __call__(self, message: Message) -> None:
        """Send the message."""
        if message["type"] == "http.response.start":
            self.status, headers = message["status"], message.get("headers", [])
            added = [*self.scope.get(ADDED_HEADERS, []), *ON_EVERY_RESPONSE]
            if not any(name in _OF_CACHES for name, _ in headers):
                added.append(NO_STORE)
            if self.status >= HTTPStatus.BAD_REQUEST:
                added.append((b"x-request-id", self.request_id.encode()))
            if self.is_draining:
                added.append(CLOSE)
            message["headers"] = [*headers, *added]
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
            if self.is_head:
                message = {**message, "body": b""}
        await self.send(message)


class RequestMiddleware:
    """ASGI application around another."""

    def __init__(self, app: ASGIApp, state: Any) -> None:
        """`state` is the inner application's, with `app_state`."""
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer within limits, and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The fast path may have waited for Redis before it passed the request on.
        started = scope.get(ARRIVED) or time.monotonic()
        method = scope["method"] if scope["method"] in _METHODS else "other"
        if method == "HEAD":  # the server's own scope keeps the method
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = make_request_id()
        limit = _LIMITS.get(scope["path"], LARGEST_BODY)
        body = LimitedReceive(receive, limit)
        response = ResponseSender(scope, send, request_id, self._state.app_state.draining, is_head=method == "HEAD")
        is_untraced = scope["path"].startswith(_UNTRACED)

        def trace_name() -> str:  # the route is known before it runs: requests to other services name their trace
            return f"{method} {problems.find_route(self._state.routes, scope)}"

        with (
            # Nothing parses or quotes a large body here, and to search a log line for all texts in it takes long.
            log_context(RequestSecrets(scope, () if limit > LARGEST_BODY else body.parts), request_id=request_id),
            isolated() if is_untraced else traced("http.server", trace_name),
        ):
            try:
                length = headers.get("content-length", "")
                await self._respond(scope, int(length) if length.isdecimal() else 0, body, response)
            finally:
                route = problems.route_of(scope)
                seconds = time.monotonic() - started
                REQUEST_SECONDS.labels(method, route, str(response.status), "route").observe(seconds)

    async def _respond(self, scope: Scope, length: int, body: LimitedReceive, response: ResponseSender) -> None:
        """Send the application's response, or a problem if the body is too large, time runs out or it raises."""
        if length > body.limit:
            too_large = problems.answer("content-too-large", body.too_large)
            await too_large(scope, body, response)
            return
        try:
            seconds = MAX_FILE_SECONDS if scope["path"].startswith(SERVED_AT) else MAX_SECONDS
            await run_with_deadline(self._app(scope, body, response.send_unless_timed_out), seconds)
        except TimeoutError:
            response.is_timed_out = True
            timeout = _timeout_response(scope, body)
            if response.status:
                raise
            await timeout(scope, body, response)
        except Exception as error:  # noqa: BLE001  any error is logged, and raised only if the response is incomplete
            problems.log_server_error(scope, "unhandled", error=error)
            if not response.is_complete:
                # Without the cause: uvicorn would log its text, which may quote the request.
                raise RuntimeError("The response was cut off. The line before has the cause.") from None


def make_request_id() -> str:
    """16 random hexadecimal digits; it is not a secret."""
    return f"{random.getrandbits(_REQUEST_ID_BITS):016x}"


async def run_with_deadline(work: Awaitable[None], seconds: float) -> None:
    """Run `work` for at most `seconds`, then cancel it without waiting for its end.

    A task that is cancelled while PostgreSQL hangs waits until PostgreSQL has cancelled the query.

    Raises:
        TimeoutError: The work did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            _cancelled.add(task)
            task.add_done_callback(_discard_task)
    if not done:
        raise TimeoutError
    task.result()


def _discard_task(task: asyncio.Future[None]) -> None:
    _cancelled.discard(task)
    if not task.cancelled():
        task.exception()  # marks it as retrieved, or asyncio logs it; the timeout has been logged already


def _timeout_response(scope: Scope, body: LimitedReceive) -> Response:
    """408 if the client is still sending the body, otherwise 503."""
    if body.is_awaited:
        detail = f"The request body did not arrive within {MAX_SECONDS:g} s."
        return problems.answer("request-timeout", detail, {"Connection": "close"})
    problems.log_server_error(scope, "The answer took longer than %g s", MAX_SECONDS)
    detail = "The request took too long. Try again later."
    return problems.answer("unavailable", detail, problems.PAUSE)
