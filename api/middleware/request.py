"""What holds for every request that FastAPI answers: headers, how large a body may be, how long an answer may take.

And what is told of it: its time, and the id that its log lines and reports have, and every answer that is no success.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any, Final

from sentry_sdk.tracing import Span
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.middleware.request_secrets import RequestSecrets
from api.representation import CLOSE, SECURITY
from wishcraft.observability.context import log_context
from wishcraft.observability.metrics import REQUEST_SECONDS
from wishcraft.observability.sentry import isolated, traced

LARGEST_BODY: Final = 64 * 1024
LONGEST_SECONDS: Final = 10.0
_TOO_LARGE: Final = f"A request's body may have {LARGEST_BODY // 1024} KiB."
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are told as one: anybody can make up more."""
_UNTRACED: Final = ("/health", "/metrics")
"""Probes, which come all the time, and are alike."""
_ID: Final = re.compile(rb"[\w-]{8,64}", re.ASCII)
_ending: Final = set[asyncio.Future[None]]()
"""What was answered without, and has not ended yet: a task that nothing holds may vanish."""


class RequestMiddleware:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, state: Any) -> None:
        """`state` is the other's; `draining` is in it once the process is to stop."""
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The edge may have waited for Redis before it gave the request on.
        started = scope.get("wishcraft.arrived") or time.perf_counter()
        body, method = _Body(receive), scope["method"] if scope["method"] in _METHODS else "other"
        request_id = _request_id(scope)
        answer = _Answer(scope, send, request_id, closing=self._state.draining)
        with (
            log_context(RequestSecrets(scope, body.parts), request_id=request_id),
            isolated(),
            _traced(scope, method) as trace,
        ):
            try:
                await self._answer(scope, body, answer)
            finally:
                route = problems.route_of(scope)
                seconds = time.perf_counter() - started
                REQUEST_SECONDS.labels(method, route, str(answer.status), "route").observe(seconds)
                if trace:
                    trace.name = f"{method} {route}"  # type: ignore[attr-defined]  # a transaction has one

    async def _answer(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        if _announced(scope) > LARGEST_BODY:
            too_large = problems.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", _TOO_LARGE)
            await too_large(scope, body, answer)
            return
        try:
            await _in_time(self._app(scope, body, answer.until_late))
        except TimeoutError:
            answer.is_late = True
            late = _too_late(scope, body)
            if answer.status:
                raise
            await late(scope, body, answer)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told, and raised if it must be
            problems.tell(scope, "unhandled", error=error)
            if not answer.is_whole:
                # Without the cause: the server would log its text, which may quote what the request brought.
                raise RuntimeError("The answer was cut off; why is in the line before") from None


class _Answer:
    """The `send` of one request: adds the headers, and knows how far the answer is."""

    def __init__(self, scope: Scope, send: Send, request_id: str, *, closing: bool) -> None:
        self.status = 0
        """0 until it has begun."""
        self.is_whole = False
        self.is_late = False
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._closing = closing

    async def until_late(self, message: Message) -> None:
        """Send what the application answers, unless another answer has taken its place."""
        if not self.is_late:
            await self(message)

    async def __call__(self, message: Message) -> None:
        """Send the message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *self._extra()]
        elif message["type"] == "http.response.body":
            self.is_whole = not message.get("more_body", False)
        await self._send(message)

    def _extra(self) -> list[tuple[bytes, bytes]]:
        extra = [*self._scope.get("wishcraft.headers", []), SECURITY]
        if self.status >= HTTPStatus.BAD_REQUEST:
            extra.append((b"x-request-id", self._request_id.encode()))
        return [*extra, CLOSE] if self._closing else extra


def _traced(scope: Scope, method: str) -> AbstractContextManager[Span | None]:
    probed = scope["path"].startswith(_UNTRACED)
    return nullcontext() if probed else traced("http.server", f"{method} unmatched")


def _request_id(scope: Scope) -> str:
    """The one that the caller or a proxy gave, if it has the looks of one, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _announced(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


class _Body:
    """The `receive` of one request: keeps what has come, ends a body that is too large, and knows whom it waits for."""

    def __init__(self, receive: Receive) -> None:
        self.parts: list[bytes] = []
        self.is_awaited = False
        """Whether the client is to send more of it, and does not."""
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        self.is_awaited = not self.parts or self.is_awaited
        message = await self._receive()
        chunk = message.get("body", b"")
        self._size += len(chunk)
        self.is_awaited = message.get("more_body", False)
        if self._size > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        self.parts.append(chunk)
        return message


async def _in_time(work: Awaitable[None]) -> None:
    """Do the work for as long as an answer may take; what is then left of it ends by itself.

    It is not waited for: whoever is cancelled while PostgreSQL hangs first asks that to let go of the query.

    Raises:
        TimeoutError: It took too long.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=LONGEST_SECONDS)
    finally:
        if not task.done():
            task.cancel()
            _ending.add(task)
            task.add_done_callback(_end)
    if not done:
        raise TimeoutError
    task.result()


def _end(task: asyncio.Future[None]) -> None:
    _ending.discard(task)
    if not task.cancelled():
        task.exception()  # nobody else looks at it, and it has been told that the answer was late


def _too_late(scope: Scope, body: _Body) -> Response:
    """What is answered instead: whose fault it is decides."""
    if body.is_awaited:
        detail = f"The rest of the request's body did not come within {LONGEST_SECONDS:g} s."
        return problems.answer(HTTPStatus.REQUEST_TIMEOUT, "request-timeout", detail, {"Connection": "close"})
    problems.tell(scope, "The answer took longer than %g s", LONGEST_SECONDS)
    return problems.answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "It took too long.", problems.PAUSE)
