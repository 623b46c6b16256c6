"""What holds for every request that FastAPI answers: headers, how large a body may be, how long an answer may take."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.representation import CLOSE, SECURITY

LARGEST_BODY: Final = 64 * 1024
REQUEST_SECONDS: Final = 10.0
_TOO_LARGE: Final = f"A request's body may have {LARGEST_BODY // 1024} KiB."
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
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *self._extra(scope)]
            await send(message)

        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                if _announced(scope) > LARGEST_BODY:
                    too_large = problems.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", _TOO_LARGE)
                    await too_large(scope, receive, send_with_headers)
                else:
                    await self._app(scope, _bounded(receive), send_with_headers)
        except TimeoutError:
            _log.warning("%s %s took longer than %g s", scope["method"], scope["path"], REQUEST_SECONDS)
            if started:
                raise
            slow = problems.answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "It took too long.", problems.PAUSE)
            await slow(scope, receive, send_with_headers)

    def _extra(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        extra = [*scope.get("wishcraft.headers", []), SECURITY]
        return [*extra, CLOSE] if self._state.draining else extra


def _announced(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


def _bounded(receive: Receive) -> Receive:
    """The same, but for a body that turns out to be too large."""
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return receive_bounded
