"""What holds for every request that FastAPI answers: headers, how large a body may be, how long an answer may take.

And what is told of it: its time, and the id that its log lines and reports have, and every answer that is no success.
"""

import asyncio
import logging
import re
import secrets
import time
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.carried import secrets_of
from api.representation import CLOSE, SECURITY
from wishcraft.instruments import REQUEST_SECONDS
from wishcraft.observability.context import about
from wishcraft.observability.reports import isolated, traced

LARGEST_BODY: Final = 64 * 1024
LONGEST_SECONDS: Final = 10.0
_TOO_LARGE: Final = f"A request's body may have {LARGEST_BODY // 1024} KiB."
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are told as one: anybody can make up more."""
_ID: Final = re.compile(rb"[\w-]{8,64}", re.ASCII)
_log: Final = logging.getLogger(__name__)


class Outside:
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
        body, method = list[bytes](), scope["method"] if scope["method"] in _METHODS else "other"
        request_id = _request_id(scope)
        answer = _Answer(scope, send, request_id, closing=self._state.draining)
        with (
            about(partial(secrets_of, scope, body), request_id=request_id),
            isolated(),
            traced("http.server", f"{method} unmatched") as trace,
        ):
            try:
                await self._answer(scope, _bounded(receive, body), answer)
            finally:
                route = problems.route_of(scope)
                seconds = time.perf_counter() - started
                REQUEST_SECONDS.labels(method, route, str(answer.status), "route").observe(seconds)
                if trace:
                    trace.name = f"{method} {route}"  # type: ignore[attr-defined]  # a transaction has one

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                if _announced(scope) > LARGEST_BODY:
                    too_large = problems.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", _TOO_LARGE)
                    await too_large(scope, receive, answer)
                else:
                    await self._app(scope, receive, answer)
        except TimeoutError:
            problems.tell(scope, "The answer took longer than %g s", LONGEST_SECONDS)
            if answer.status:
                raise
            slow = problems.answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "It took too long.", problems.PAUSE)
            await slow(scope, receive, answer)
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
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._closing = closing

    async def __call__(self, message: Message) -> None:
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


def _request_id(scope: Scope) -> str:
    """The one that the caller or a proxy gave, if it has the looks of one, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _announced(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


def _bounded(receive: Receive, body: list[bytes]) -> Receive:
    """The same, but for a body that turns out to be too large; what has come of it is added to `body`."""
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        body.append(chunk)
        return message

    return receive_bounded
