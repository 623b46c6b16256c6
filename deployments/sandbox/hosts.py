"""Refuses requests that name another host than this machine."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wishcraft.domain.networks import names_loopback


class LoopbackOnly:
    """ASGI middleware: 421 unless `Host` is a name of the loopback interface."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not names_loopback(scope["headers"]):
            await PlainTextResponse("Call this server as 127.0.0.1 or localhost.", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)
