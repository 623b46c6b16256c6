"""The fast path: answers reads of one registry in the HTTP protocol, before any ASGI scope, task or route exists.

It takes a request that arrives as one whole head of `GET /api/registries/{ref}` while nothing else is under way on its
connection, and answers hits, 304s, stale hits, remembered 404s and refusals (401, 429). All else goes to uvicorn's own
protocol, as the same bytes. The route makes every decision that is made here, and gives the same bytes.

A read takes two steps: `FastPath.begin` finds the caller and counts the request; `FastPath.finish` makes the response
of what Redis had. `FastProtocol` does the input and output of one connection.
"""

import logging
import re
import secrets
import time
from functools import cached_property, lru_cache, partial
from random import random
from typing import Any, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api import problems
from api.auth.dependencies import IDENTIFIED, NO_CREDENTIALS, UNKNOWN_KEY, UNSIGNED, invalid_credentials, over_limit
from api.middleware.request import ADDED_HEADERS, ARRIVED, FAILED, REQUEST_ID
from api.problems import ProblemError
from api.representation import CLOSE, SECURITY, RawHeaders, represent
from api.server import LimitedProtocol
from api.state import AppState, Found
from wishcraft.cache import entries, keys
from wishcraft.cache.batched_reader import Value
from wishcraft.cache.coherence import now_ms
from wishcraft.cache.entries import Entry, Header
from wishcraft.cache.read_permit import Trust
from wishcraft.cache.registries import CacheState
from wishcraft.domain.api_keys import prefix_of
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.etags import make_etag, matches
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.observability.metrics import FAST_PATH_SECONDS
from wishcraft.observability.sentry import HITS_PER_TRACE, record_trace
from wishcraft.settings import Settings

_MAX_HEAD_BYTES: Final = 8 * 1024
_MAX_HELD_BYTES: Final = 32 * 1024
"""Of what arrives while a read is under way; then no more is read from the connection until it has ended."""
_MAX_KNOWN_HEADS: Final = 20_000

_REQUEST_LINE: Final = re.compile(
    rb"GET /api/registries/([a-z0-9](?:[a-z0-9-]{0,198}[a-z0-9])?)"
    rb"(?:\?((?:[\w.-]+=[!$'()*+,./0-9:;?@A-Z_a-z~%-]*)(?:&[\w.-]+=[!$'()*+,./0-9:;?@A-Z_a-z~%-]*)*))? HTTP/1\.1\r\n"
)
"""The ref, and the query. What two servers might read differently is left out, such as an encoded name."""
_FIELD: Final = re.compile(rb"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)\r\n")
_BLOCK: Final = re.compile(rb"(?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n){1,64}\r\n")
"""The header block, with the empty line that ends it and nothing after."""
_HARMLESS: Final = re.compile(
    rb"host|connection|user-agent|accept|accept-encoding|accept-language|cache-control|pragma|cookie|dnt|referer|priority|via"
    rb"|forwarded|cdn-loop|save-data|x-api-key|x-request-id|x-requested-with|x-real-ip|x-forwarded-[a-z]+|if-none-match"
    rb"|upgrade-insecure-requests|sec-(?:ch|fetch|gpc)[a-z-]*|x-shopify-[a-z-]+|x-amzn-[a-z-]+|cf-[a-z-]+"
    rb"|traceparent|tracestate|baggage|sentry-trace"
)
"""The headers that this module uses, and those that the route does not look at."""
_SIGNATURE: Final = re.compile(rb"(?:^|&)signature=[0-9a-f]{64}(?:&|$)")
_LAST: Final = b"%b: %b\r\n\r\n" % CLOSE
_SECURITY_LINE: Final = b"%b: %b\r\n" % SECURITY
Reply = Value | CacheUnavailable | Found | DatabaseUnavailable
_log: Final = logging.getLogger(__name__)


class Sender(NamedTuple):
    """What a header block says of who sends it. Most requests of a connection have the same block."""

    scope: dict[str, Any]
    """As much of an ASGI scope as the authenticator reads; the query of each request is put into it."""
    key: bytes | None
    if_none_match: bytes | None
    request_id: bytes | None


class Read(NamedTuple):
    """A read of one registry whose caller is known, and was counted for the limit."""

    caller: Caller
    limit: bytes
    """The value of `RateLimit`."""
    slug: str | None
    """None: only the route can answer."""
    is_current: bool
    """Whether what Redis has is the last acknowledged change, as PostgreSQL has said just now."""


class Response(NamedTuple):
    """A response. Its head is without the status line, the date, and the empty line."""

    status: int
    head: bytes
    body: bytes | memoryview


class _Known(NamedTuple):
    """What follows from the header of a cache entry, made once."""

    header: Header
    etag: bytes
    heads: dict[tuple[CacheState, bool], Response]
    """By cache state, and by whether the client has the registry already; without a body."""


class FastPath:
    """The decisions of the fast path, for all connections of a process."""

    def __init__(self, state: Any) -> None:
        """Of an application with this state, whose `app_state` may come later."""
        self._state = state
        settings: Settings = state.settings
        self._trace_rate = settings.sentry_traces_sample_rate / HITS_PER_TRACE if settings.sentry_dsn else 0.0
        self._known: dict[bytes, _Known] = {}
        self._common: tuple[RawHeaders, bytes] = [], b""

    @cached_property
    def app_state(self) -> AppState:
        """The application's state."""
        app_state: AppState = self._state.app_state
        return app_state

    def common_lines(self, headers: RawHeaders) -> bytes:
        """The headers that uvicorn gives each response, such as the date. It makes a new list once a second."""
        if headers is not self._common[0]:
            self._common = headers, _lines(headers)
        return self._common[1]

    def begin(self, ref: str, sender: Sender) -> Read | Response | None:
        """Find the caller and count the request: what to read, or a refusal. None: only the route can."""
        app_state = self.app_state
        try:
            caller = self._identify(app_state, sender)
            if caller is None or Scope.READ not in caller.scopes:
                return None
        except ProblemError as refusal:
            return _problem(refusal, sender)
        policy, verdict = app_state.limit(caller)
        limit = verdict.field(policy).encode()
        if not verdict.allowed:
            return _problem(over_limit(verdict), sender, b"%b\r\nratelimit-policy: %b" % (limit, policy.field.encode()))
        slug = app_state.reader.known_slug(caller, int(ref)) if ref.isdecimal() else ref
        trust = Trust.PENDING if slug is None else app_state.permit.trust(caller.shop_id, slug)
        is_usable = trust is Trust.CURRENT or trust is Trust.SILENT
        return Read(caller, limit, slug if is_usable else None, trust is Trust.CURRENT)

    def finish(self, read: Read, slug: str, found: Found, sender: Sender, seconds: float) -> Response | None:
        """The response with this cache entry to a request that arrived so long ago. None: only the route can."""
        app_state, (raw, loaded) = self.app_state, found
        known = self._known.get(raw[: entries.HEADER_SIZE]) or self._learn(raw)
        if known is None or (loaded is None and known.header.era != app_state.resources.redis.era):
            return None
        caller, header = read.caller, known.header
        is_fresh = loaded is not None or (read.is_current and header.soft_expiry_ms > now_ms())
        if caller.owns(header.owner):
            return None  # the route adds what only the registrant sees
        if not caller.can_read(header.access_level, header.owner):
            is_missing = is_fresh and header.access_level is not AccessLevel.CODE
            return _problem(problems.no_such_registry(), sender, read.limit) if is_missing else None
        if read.is_current and not is_fresh:
            app_state.revalidate_in_background(caller.shop_id, slug)
        cache_state = loaded or (CacheState.HIT if is_fresh else CacheState.STALE)
        has_copy = sender.if_none_match is not None and matches(sender.if_none_match, known.etag)
        status, head, _ = known.heads.get((cache_state, has_copy)) or _make_head(known, raw, cache_state, has_copy)
        body = b"" if has_copy else memoryview(raw)[entries.HEADER_SIZE :]
        app_state.traffic_recorder.count_read(caller.shop_id, slug, cache_state, len(body))
        if self._trace_rate and random() < self._trace_rate:  # noqa: S311  no secret
            record_trace("http.server", "GET /api/registries/{ref}", self._trace_rate, seconds, caller)
        return Response(status, b"%bratelimit: %b\r\n%b" % (head, read.limit, _SECURITY_LINE), body)

    def _identify(self, app_state: AppState, sender: Sender) -> Caller | None:
        """The caller, if authenticated before; None if only the route can tell.

        Raises:
            ProblemError: The credentials are wrong, which takes no I/O to see.
        """
        authenticator, scope = app_state.authenticator, sender.scope
        if sender.key is not None:  # a key takes precedence over a signature
            caller = authenticator.cached_by_key(sender.key, scope)
            if caller is None and prefix_of(sender.key.decode()) is None:
                raise invalid_credentials(authenticator, scope, UNKNOWN_KEY)
            return caller
        query: bytes = scope["query_string"]
        if not query:
            raise problems.unauthorized(NO_CREDENTIALS)
        caller = authenticator.cached_by_signature(scope)
        if caller is None and _SIGNATURE.search(query) and authenticator.is_forged(scope):
            raise invalid_credentials(authenticator, scope, UNSIGNED)
        return caller

    def _learn(self, raw: bytes) -> _Known | None:
        """What follows from the entry's header; None if its format is another."""
        header = entries.unpack_header(raw)
        if header is None:
            return None
        if len(self._known) >= _MAX_KNOWN_HEADS:
            del self._known[next(iter(self._known))]  # the oldest
        known = _Known(header, make_etag(header.version, header.digest).encode(), {})
        self._known[raw[: entries.HEADER_SIZE]] = known
        return known


class FastProtocol(LimitedProtocol):
    """One connection: recognises the requests of the fast path, and gives all others to uvicorn's protocol."""

    def __init__(self, fast_path: FastPath, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._fast = fast_path
        self._block = b""
        self._sender: Sender | None = None  # what `_block` says
        self._is_between_requests = True  # whether uvicorn's parser has got no part of a request that is not complete
        self._has_upgraded = False
        self._request: bytes | None = None  # the request whose entry is being read from Redis
        self._held = b""  # what has arrived since
        self._for_scope: dict[str, Any] = {}  # what the scope of the next request is to have
        self._must_close, self._answered_at = False, 0.0

    def data_received(self, data: bytes) -> None:
        """Answer the request, or let uvicorn parse the data."""
        if self._request is not None:  # the answers come in the order of the requests
            self._held += data
            if len(self._held) > _MAX_HELD_BYTES:
                self.transport.pause_reading()
        elif not self._may_answer() or not self._answer(data):
            super().data_received(data)

    def _may_answer(self) -> bool:
        """Whether no request is under way, and the client reads its answers."""
        return (
            self._is_between_requests
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self._has_upgraded
            and not self._is_refused
        )

    def _answer(self, data: bytes) -> bool:
        """Answer the request, at once or later; False if only uvicorn's protocol can read it."""
        arrived = time.perf_counter()
        line = _REQUEST_LINE.match(data)
        if line is None or len(data) > _MAX_HEAD_BYTES:
            return False
        block = data[line.end() :]
        if block != self._block:
            self._block, self._sender = block, _parse_block(block, self.client)
        sender = self._sender
        ref, query = line.groups(b"")
        if sender is None or b"grant=" in query:
            return False
        sender.scope["query_string"] = query
        try:
            begun = self._fast.begin(ref.decode(), sender)
        except Exception:  # noqa: BLE001  the route answers instead; the error is logged
            _log.exception("The fast path failed. The route answers instead.")
            return False
        if isinstance(begun, Response):
            self._stop_head_timer()
            self._send(begun, arrived)
            return True
        if begun is None or begun.slug is None:
            self._note_for_route(begun, arrived)
            return False
        self._stop_head_timer()
        self._request = data
        on_reply = partial(self._on_reply, begun, begun.slug, sender, arrived)
        self._fast.app_state.resources.redis.reader.read(keys.entry_key(begun.caller.shop_id, begun.slug), on_reply)
        return True

    def _on_reply(self, read: Read, slug: str, sender: Sender, arrived: float, reply: Reply) -> None:
        """Answer with what Redis had; load what it had not, and answer with that; or let the route answer."""
        if reply is None and read.is_current and not self.transport.is_closing():
            on_loaded = partial(self._on_reply, read, slug, sender, arrived)
            self._fast.app_state.load_in_background(read.caller.shop_id, slug, on_loaded)
            return
        request, held = self._request, self._held
        self._request, self._held = None, b""
        if request is None or self.transport.is_closing():
            return
        response = None
        try:
            if isinstance(reply, bytes | Found):
                found = Found(reply) if isinstance(reply, bytes) else reply
                response = self._fast.finish(read, slug, found, sender, time.perf_counter() - arrived)
        except Exception:  # noqa: BLE001  the route answers instead; the error is logged
            _log.exception("The fast path failed. The route answers instead.")
        if response is not None:
            self._send(response, arrived)
        else:
            self._note_for_route(read, arrived)
            if isinstance(reply, DatabaseUnavailable):
                self._for_scope[FAILED] = reply
            super().data_received(request)
            if self._must_close:
                super().shutdown()
        if len(held) > _MAX_HELD_BYTES:
            self.transport.resume_reading()
        if held and not self.transport.is_closing():
            self.data_received(held)

    def _send(self, response: Response, arrived: float) -> None:
        """Write the response, and close the connection if the process drains or ends."""
        status, head, body = response
        is_last = self._must_close or self._fast.app_state.draining
        date = self._fast.common_lines(self.server_state.default_headers)
        self._corked.write_now(b"".join((STATUS_LINE[status], date, head, _LAST if is_last else b"\r\n", body)))
        FAST_PATH_SECONDS.observe(status, time.perf_counter() - arrived)
        self._answered_at = self.loop.time()
        if is_last:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self._check_idleness_after(self.timeout_keep_alive)

    def _note_for_route(self, read: Read | None, arrived: float) -> None:
        """Let the route know what need not be done twice."""
        self._for_scope = {ARRIVED: arrived}
        if read is not None:
            self._for_scope |= {IDENTIFIED: read.caller, ADDED_HEADERS: [(b"ratelimit", read.limit)]}

    def on_message_begin(self) -> None:
        """The first byte of a request has come to uvicorn's parser."""
        super().on_message_begin()
        self._is_between_requests = False
        self.scope.update(self._for_scope)  # type: ignore[typeddict-item]
        self._for_scope = {}

    def on_headers_complete(self) -> None:
        """After a request to upgrade, the parser is no longer between requests."""
        self._has_upgraded = self._has_upgraded or self.parser.should_upgrade()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last byte of a request has come to uvicorn's parser."""
        super().on_message_complete()
        self._is_between_requests = True

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless the fast path has answered since the timer was set."""
        idle = 0.0 if self._request is not None else self.loop.time() - self._answered_at
        if self._request is None and idle >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
            return
        self._check_idleness_after(self.timeout_keep_alive - idle)

    def _check_idleness_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """Close the connection once its request is answered."""
        if self._request is None:
            super().shutdown()
        self._must_close = True


def _parse_block(block: bytes, client: tuple[str, int] | None) -> Sender | None:
    """The sender, if each header is one that this module knows to handle, and occurs once."""
    if not _BLOCK.fullmatch(block):
        return None
    fields = _FIELD.findall(block)
    headers = {name.lower(): value for name, value in fields}
    if (
        len(headers) < len(fields)
        or not all(map(_HARMLESS.fullmatch, headers))
        or b"host" not in headers
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    forwarded_for = [(name, value) for name, value in headers.items() if name == b"x-forwarded-for"]
    scope: dict[str, Any] = {"method": "GET", "client": client, "headers": forwarded_for}
    request_id = headers.get(b"x-request-id", b"")
    usable_id = request_id if REQUEST_ID.fullmatch(request_id.decode()) else None
    return Sender(scope, headers.get(b"x-api-key"), headers.get(b"if-none-match"), usable_id)


def _make_head(known: _Known, raw: bytes, cache_state: CacheState, has_copy: bool) -> Response:
    entry = Entry(known.header, raw[entries.HEADER_SIZE :])
    made = represent(entry, cache_state, if_none_match=known.etag if has_copy else None)
    response = Response(made.status, _lines(made.headers), b"")
    known.heads[cache_state, has_copy] = response
    return response


def _problem(error: ProblemError, sender: Sender, limit: bytes | None = None) -> Response:
    """The problem as the route and its middleware answer it."""
    status, head, body = _problem_parts(error.kind, str(error), tuple((error.headers or {}).items()))
    limit_line = b"" if limit is None else b"ratelimit: %b\r\n" % limit
    request_id = sender.request_id or secrets.token_hex(8).encode()
    return Response(status, b"%b%b%bx-request-id: %b\r\n" % (head, limit_line, _SECURITY_LINE, request_id), body)


@lru_cache(1024)
def _problem_parts(kind: str, detail: str, headers: tuple[tuple[str, str], ...]) -> Response:
    answer = problems.answer(kind, detail, dict(headers))
    return Response(answer.status_code, _lines(answer.raw_headers), bytes(answer.body))


def _lines(headers: RawHeaders) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
