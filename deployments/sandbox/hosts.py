"""Refuses requests that name another host than this machine."""

import re
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK: Final = re.compile(rb"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class LoopbackOnly:
    """ASGI middleware: 421 unless `Host` is a name of the loopback interface.

    A web page can let its own name point to 127.0.0.1 (DNS rebinding), and its browser then takes a server here for the
    page's own, but it sends the page's name. Starlette's `TrustedHostMiddleware` does not know `[::1]`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
                await PlainTextResponse("Call this server as 127.0.0.1 or localhost.", 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)
