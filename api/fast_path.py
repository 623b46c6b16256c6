"""The fast path: an ASGI application in front of FastAPI that answers cache hits of `GET /api/registries/{ref}`.

A miss, a caller that is not cached, a special header or an error goes on to the route unchanged. The route gives the
same bytes, and makes every decision that is made here.
"""

import logging
import time
from http import HTTPStatus
from random import random
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from api.representation import CLOSE, SECURITY, Representation, represent
from api.state import AppState
from wishcraft.cache.coherence import now_ms
from wishcraft.cache.read_permit import Trust
from wishcraft.cache.registries import CacheState
from wishcraft.domain.callers import Scope
from wishcraft.domain.registries import MAX_SLUG_LENGTH
from wishcraft.errors import CacheUnavailable
from wishcraft.observability.metrics import REQUEST_SECONDS
from wishcraft.observability.sentry import HITS_PER_TRACE, isolated, open_trace, set_visitor
from wishcraft.settings import Settings

_PREFIX: Final = "/api/registries/"
_ROUTE_HEADERS: Final = frozenset({b"authorization", b"origin", b"range", b"x-customer-id", b"x-registry-grant"})
"""Requests with one of these headers go to the route."""
_ROUTE: Final = "/api/registries/{ref}"
_CALLER: Final = "wishcraft.caller"
_SECONDS: Final = {
    int(status): REQUEST_SECONDS.labels("GET", _ROUTE, str(int(status)), "edge")
    for status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED)
}
"""By status. Created once: looking up the labels costs as much as the observation."""
_log: Final = logging.getLogger(__name__)


class FastPath:
    """ASGI application around another: answers what it can, and passes on the rest."""

    def __init__(self, app: ASGIApp, state: Any) -> None:
        """`state` is the inner application's, with `app_state`, `settings` and `draining`."""
        self._app = app
        self._state = state
        settings: Settings = state.settings
        self._trace_rate = settings.sentry_traces_sample_rate / HITS_PER_TRACE if settings.sentry_dsn else 0.0

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(_PREFIX):
            arrived = time.perf_counter()
            try:
                is_traced = random() < self._trace_rate  # noqa: S311  no secret
                answer = await (self._traced_answer(scope) if is_traced else self._answer(scope))
            except CacheUnavailable:
                answer = None
            except Exception:  # noqa: BLE001  the route answers instead; the error is logged
                _log.exception("The fast path failed. The route answers instead.")
                answer = None
            if answer is not None:
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                await send({"type": "http.response.body", "body": answer.body})
                _SECONDS[answer.status].observe(time.perf_counter() - arrived)
                return
            scope["wishcraft.arrived"] = arrived
        await self._app(scope, receive, send)

    async def _traced_answer(self, scope: Connection) -> Representation | None:
        """The same, traced; a request that only the route can answer is traced there, if at all."""
        with isolated(), open_trace("http.server", f"GET {_ROUTE}", self._trace_rate) as trace:
            trace.sampled = False
            answer = await self._answer(scope)
            if answer is not None:
                trace.sampled = True
                set_visitor(scope[_CALLER])
            return answer

    async def _answer(self, scope: Connection) -> Representation | None:
        """The response, or None if only the route can answer."""
        app_state: AppState = self._state.app_state
        ref = scope["path"][len(_PREFIX) :]
        headers = dict(scope["headers"])
        if (
            not ref
            or "/" in ref
            or not ref.isascii()
            or len(ref) > MAX_SLUG_LENGTH
            or not _ROUTE_HEADERS.isdisjoint(headers)
            or len(headers) < len(scope["headers"])  # one is repeated
        ):
            return None
        if b"grant=" in scope["query_string"]:
            return None
        key = headers.get(b"x-api-key")
        if key is not None:  # a key takes precedence over a signature
            caller = app_state.authenticator.cached_by_key(key, scope)
        else:
            caller = app_state.authenticator.cached_by_signature(scope)
        if caller is None or Scope.READ not in caller.scopes:
            return None
        scope[_CALLER] = caller
        slug = app_state.reader.known_slug(caller, int(ref)) if ref.isdecimal() else ref
        trust = app_state.permit.trust(caller.shop_id, slug or "")
        is_usable = trust is Trust.CURRENT or trust is Trust.SILENT
        entry = await app_state.resources.cache.get(caller.shop_id, slug) if slug and is_usable else None
        if (
            entry is None
            or slug is None
            or caller.owns(entry.header.owner)  # the route adds what only the registrant sees
            or not caller.can_read(entry.header.access_level, entry.header.owner)
        ):
            return None
        policy, verdict = app_state.limit(caller)
        if not verdict.allowed:
            return None
        cache_state = CacheState.HIT if trust is Trust.CURRENT else CacheState.STALE
        if trust is Trust.CURRENT and entry.header.soft_expiry_ms <= now_ms():
            cache_state = CacheState.STALE
            app_state.revalidate_in_background(caller.shop_id, slug)
        answer = represent(entry, cache_state, if_none_match=headers.get(b"if-none-match"))
        answer.headers.extend(((b"ratelimit", verdict.field(policy).encode()), SECURITY))
        if self._state.draining:
            answer.headers.append(CLOSE)
        app_state.traffic_recorder.count_read(caller.shop_id, slug, cache_state, len(answer.body))
        return answer
