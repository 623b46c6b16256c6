"""Answers hits of the hot read before FastAPI sees them: one registry, from the bytes that Redis holds.

What it cannot answer at once goes on unchanged: a miss, an odd request, a caller not seen of late, any trouble. The
route behind it is complete without it and gives the same bytes; nothing is decided here that is not decided there too.
"""

import logging
import time
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from api.representation import CLOSE, SECURITY, Representation, limit_header, represent
from api.state import AppState
from wishcraft.cache.coherence import now_ms
from wishcraft.cache.registries import CacheState
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.registries import LONGEST_SLUG
from wishcraft.errors import CacheUnavailable
from wishcraft.observability.metrics import REQUEST_SECONDS

_PREFIX: Final = "/api/registries/"
_ODD: Final = frozenset({b"authorization", b"origin", b"range", b"x-customer-id", b"x-registry-grant"})
_ROUTE: Final = "/api/registries/{ref}"
_SECONDS: Final = {
    int(status): REQUEST_SECONDS.labels("GET", _ROUTE, str(int(status)), "edge")
    for status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED)
}
"""Made beforehand: to find them by their labels would cost as much as to observe."""
_log: Final = logging.getLogger(__name__)


class FastPath:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, state: Any) -> None:
        """`state` is the other's; `app_state` is in it from its start on, and `draining` once it is to stop."""
        self._app = app
        self._state = state

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer the request, or let the application do it."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(_PREFIX):
            arrived = time.perf_counter()
            try:
                answer = await self._answer(scope)
            except CacheUnavailable:
                answer = None
            except Exception:  # noqa: BLE001  whatever it is, the route answers, and it is logged
                _log.exception("The edge failed; the route answers")
                answer = None
            if answer is not None:
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                await send({"type": "http.response.body", "body": answer.body})
                _SECONDS[answer.status].observe(time.perf_counter() - arrived)
                return
            scope["wishcraft.arrived"] = arrived
        await self._app(scope, receive, send)

    async def _answer(self, scope: Connection) -> Representation | None:
        app_state: AppState = self._state.app_state
        ref = scope["path"][len(_PREFIX) :]
        headers = dict(scope["headers"])
        if not ref or "/" in ref or len(ref) > LONGEST_SLUG or not _ODD.isdisjoint(headers):
            return None
        caller = _identify(app_state, headers, scope)
        if caller is None or Scope.READ not in caller.scopes:
            return None
        slug = app_state.reader.known_slug(caller.shop_id, int(ref)) if ref.isdecimal() else ref
        entry = await app_state.resources.cache.get(caller.shop_id, slug) if slug else None
        if entry is None or slug is None or not caller.can_read(entry.header.access_level, entry.header.owner):
            return None
        policy, verdict = app_state.limit(caller)
        if not verdict.allowed:
            return None
        state = CacheState.HIT
        if entry.header.soft_expiry_ms <= now_ms():
            state = CacheState.STALE
            app_state.refresh(caller.shop_id, slug)
        is_own = caller.owns(entry.header.owner)
        answer = represent(entry, state, is_own=is_own, if_none_match=headers.get(b"if-none-match"))
        answer.headers.extend((limit_header(policy, verdict), SECURITY))
        if self._state.draining:
            answer.headers.append(CLOSE)
        app_state.traffic_recorder.count_read(caller.shop_id, slug, state, len(answer.body))
        return answer


def _identify(app_state: AppState, headers: dict[bytes, bytes], scope: Connection) -> Caller | None:
    """The caller, if seen of late. A key that is shown decides, also against a signature."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return app_state.authenticator.cached_by_key(key, scope)
    return None if b"grant=" in scope["query_string"] else app_state.authenticator.cached_by_signature(scope)
