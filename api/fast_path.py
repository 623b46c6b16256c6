"""The fast path: answers reads of one registry in the HTTP protocol, before any ASGI scope, task or route exists.

It takes a request that arrives as one whole head of `GET /api/registries/{ref}` while nothing else is under way on its
connection, and answers hits, stale hits, misses, 304s, 404s and refusals (401, 429). All else goes to uvicorn's own
protocol, as the same bytes. The route makes every decision that is made here, and gives the same bytes.

`api/request_head.py` reads the request. A read takes two steps: `FastPath.begin` finds the caller and counts the
request; `FastPath.finish` makes the response of what Redis had, or of what `AppState.load` has loaded on a miss. For a
conditional request, only the header of the entry is read first. `FastProtocol` does the input and output of one
connection, in the order of its methods: `data_received`, `_answer`, `_on_reply`, `_send` or `_give_to_route`.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import random
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api import problems
from api.auth.authenticator import Authenticator
from api.auth.dependencies import IDENTIFIED, NO_CREDENTIALS, UNKNOWN_KEY, UNSIGNED, over_limit, too_many_invalid
from api.middleware.request import ADDED_HEADERS, ARRIVED, FAILED, make_request_id
from api.problems import ProblemError
from api.representation import (
    CLOSE,
    NO_STORE,
    NOT_MODIFIED_HEAD,
    OK_HEAD,
    ON_EVERY_RESPONSE,
    RawHeaders,
    header_lines,
)
from api.request_head import HeaderBlock, HeadParser, Query, Sender
from api.server import LimitedProtocol
from api.state import AppState, Found
from wishcraft.cache import entries, keys
from wishcraft.cache.batched_reader import Value
from wishcraft.cache.entries import Header
from wishcraft.cache.read_permit import Trust
from wishcraft.cache.registries import CacheState
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.etags import make_etag, matches
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.observability.metrics import FAST_PATH_SECONDS
from wishcraft.observability.sentry import HITS_PER_TRACE, record_trace

_MAX_HEAD_BYTES: Final = 8 * 1024
_MAX_HELD_BYTES: Final = 32 * 1024
"""Of what arrives while a read is under way; then no more is read from the connection until it has ended."""
_MAX_KNOWN_HEADERS: Final = 4_096
_REFUSED_SECONDS: Final = 1.0
"""How long a query that Shopify has not signed is refused before it is verified again."""
_SIGNATURE: Final = re.compile(rb"(?:^|&)signature=[0-9a-f]{64}(?:&|$)")
_COMMON_LINES: Final = header_lines([*ON_EVERY_RESPONSE, NO_STORE])
_CLOSE_LINE: Final = header_lines([CLOSE])
_NO_BODY: Final = memoryview(b"")
# To find a member of an enumeration in its class takes four times as long as to find a name of the module.
_READ, _CURRENT, _SILENT, _HIT, _STALE = Scope.READ, Trust.CURRENT, Trust.SILENT, CacheState.HIT, CacheState.STALE
_OPEN: Final = AccessLevel.OPEN
Reply = Value | CacheUnavailable | Found | DatabaseUnavailable
"""Of Redis: the entry's bytes, None if it has none, or its error. Of a load: what was found, or why nothing was."""
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)  # made in half the time of a tuple with names
class Read:
    """A read of one registry whose caller is known, and was counted for the limit."""

    caller: Caller
    sender: Sender
    if_none_match: str | None
    arrived: float
    """On the monotonic clock: it is read once for a request, except for how long the answer took."""
    limit: str
    """The value of `RateLimit`."""
    slug: str
    """Empty if only the route can answer."""
    is_current: bool
    """Whether what Redis has is the last acknowledged change, as PostgreSQL has said just now."""


RawResponse = tuple[int, str, bytes | memoryview]  # made and read in a quarter of the time of a dataclass
"""A response: its status; its head without the status line, the date, and the empty line; and its body."""
NEEDS_BODY: Final[RawResponse] = (0, "", b"")
"""No response: only the entry's header was read, and the client has another version of the registry."""


class FastPath:
    """The decisions of the fast path, for all connections of a process."""

    def __init__(self, app_state: AppState) -> None:
        settings = app_state.settings
        self.app_state = app_state
        self.batched_reader = app_state.resources.redis.batched_reader
        self._limiter = app_state.resources.limiter
        self._trace_rate = settings.sentry_traces_sample_rate / HITS_PER_TRACE if settings.sentry_dsn else 0.0
        self.parser = HeadParser()
        self._default_headers: RawHeaders = []
        self._starts: dict[int, str] = {}

    def start_of(self, status: int, default_headers: RawHeaders) -> str:
        """The status line, and the headers that uvicorn gives each response, as a new list each second."""
        if default_headers is not self._default_headers:
            self._default_headers, self._starts = default_headers, {}
        start = self._starts.get(status)
        if start is None:
            start = self._starts[status] = STATUS_LINE[status].decode() + header_lines(default_headers)
        return start

    def begin(
        self, ref: str, query: Query, sender: Sender, if_none_match: str | None, arrived: float
    ) -> Read | RawResponse | None:
        """Find the caller and count the request: what to read, or a refusal. None, or no slug: only the route can."""
        app_state = self.app_state
        caller = self._identify(app_state.authenticator, query, sender, arrived)
        if not isinstance(caller, Caller) or _READ not in caller.scopes:
            return caller if isinstance(caller, tuple) else None
        policy = app_state.server_policy if sender.has_key else app_state.person_policy
        remaining, reset = self._limiter.count(policy, caller.name)
        limit = policy.limit_field(remaining, reset)
        if remaining < 0:
            more = f"ratelimit: {limit}\r\nratelimit-policy: {policy.field}\r\n"
            return _refuse(sender, _problem(over_limit, reset), more)
        slug = (app_state.reader.known_slug(caller, int(ref)) or "") if ref.isdecimal() else ref
        trust = app_state.permit.trust(caller.shop_id, slug, arrived=arrived) if slug else Trust.PENDING
        usable_slug = slug if trust is _CURRENT or trust is _SILENT else ""
        return Read(caller, sender, if_none_match, arrived, limit, usable_slug, trust is _CURRENT)

    def finish(self, read: Read, slug: str, raw: bytes, loaded: CacheState | None) -> RawResponse | None:
        """The response with this cache entry, found in Redis or `loaded`; or `NEEDS_BODY`. None: only the route can."""
        app_state = self.app_state
        known = _read_header(raw[: entries.HEADER_SIZE])
        if known is None or (loaded is None and known[0].era != app_state.resources.redis.era):
            return None
        caller, (header, etag) = read.caller, known
        # A load has just asked PostgreSQL, or tried to: no other one is due.
        is_fresh = loaded is not None or (read.is_current and header.soft_expiry_ms > 1_000 * time.time())
        if header.owner == caller.customer_id:  # a guest has no id, and a registry without an owner 0
            return None  # the route adds what only the registrant sees
        if header.access_level is not _OPEN and not caller.can_read(header.access_level, header.owner):
            if not is_fresh or header.access_level is AccessLevel.CODE:
                return None
            return _refuse(read.sender, _problem(problems.no_such_registry), f"ratelimit: {read.limit}\r\n")
        if read.is_current and not is_fresh:
            app_state.revalidate_in_background(caller.shop_id, slug)
        cache_state = loaded or (_HIT if is_fresh else _STALE)
        if read.if_none_match is not None and matches(read.if_none_match, etag):
            status, body, text = 304, _NO_BODY, NOT_MODIFIED_HEAD[cache_state]
            head = f"{text[0]}{etag}{text[1]}{read.limit}{text[2]}"
        elif len(raw) == entries.HEADER_SIZE:
            return NEEDS_BODY
        else:
            status, body, text = 200, memoryview(raw)[entries.HEADER_SIZE :], OK_HEAD[cache_state]
            head = f"{text[0]}{len(body)}{text[1]}{etag}{text[2]}{read.limit}{text[3]}"
        app_state.traffic_recorder.count_read(caller.shop_id, slug, cache_state, len(body))
        if self._trace_rate and random() < self._trace_rate:  # noqa: S311  no secret
            seconds = time.monotonic() - read.arrived
            record_trace("http.server", "GET /api/registries/{ref}", self._trace_rate, seconds, caller)
        return status, head, body

    def _identify(
        self, authenticator: Authenticator, query: Query, sender: Sender, now: float
    ) -> Caller | RawResponse | None:
        """The caller, or a refusal, as far as it takes no I/O to find; None: only the route can."""
        if not sender.has_key:  # a key takes precedence over a signature
            return self._identify_signed(authenticator, query, sender, now)
        if sender.fingerprint is None:
            return _refuse_invalid(authenticator, sender, UNKNOWN_KEY)
        return authenticator.cached_by_fingerprint(sender.fingerprint, sender.scope)

    def _identify_signed(
        self, authenticator: Authenticator, query: Query, sender: Sender, now: float
    ) -> Caller | RawResponse | None:
        verified = query.verified
        if verified is None or verified.expires < now:
            if not query.text:
                return _refuse(sender, _problem(problems.unauthorized, NO_CREDENTIALS))
            if not _SIGNATURE.search(query.text):
                return None
            if query.refused_until < now:
                query.verified = verified = authenticator.verify_read(query.text)
                query.refused_until = now + _REFUSED_SECONDS if verified is None else 0.0
            if verified is None:
                return _refuse_invalid(authenticator, sender, UNSIGNED)
        if verified.caller is not None or verified.shop_id is None:  # None of an unknown shop
            return verified.caller
        guest = sender.guests.get(verified.shop_id)
        if guest is None:
            guest = sender.guests[verified.shop_id] = authenticator.guest(verified.shop_id, sender.scope)
        return guest


class FastProtocol(LimitedProtocol):
    """One connection: recognises the requests of the fast path, and gives all others to uvicorn's protocol."""

    # Read in three quarters, and written in three fifths, of the time of an attribute in an object with so many.
    __slots__ = (
        "_answered_at",
        "_block",
        "_fast",
        "_for_scope",
        "_held",
        "_must_close",
        "_parsed_block",
        "_read",
        "_request",
    )

    def __init__(self, state: Any, **of_uvicorn: Any) -> None:
        """`state` is the ASGI application's, which has started."""
        super().__init__(**of_uvicorn)
        self._fast: FastPath = state.fast_path
        self._block = b""
        self._parsed_block: HeaderBlock | None = None
        """What the parser has read of `_block`, which is the last header block."""
        self._request: bytes | None = None
        """The request whose entry is being read from Redis."""
        self._read: Read | None = None
        self._held = b""
        """What has arrived since."""
        self._for_scope: dict[str, Any] = {}
        """What the scope of the next request is to have."""
        self._must_close = False
        self._answered_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Answer the request, or let uvicorn parse the data."""
        if self._request is not None:  # the answers come in the order of the requests
            self._held += data
            if len(self._held) > _MAX_HELD_BYTES:
                self.transport.pause_reading()
        elif not (
            self._is_between_requests
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused  # the client reads its answers
            and not self._has_upgraded
            and not self._is_refused
            and self._answer(data)
        ):
            super().data_received(data)

    def _answer(self, data: bytes) -> bool:
        """Answer the request, at once or later; False if only uvicorn's protocol can read it."""
        arrived = time.monotonic()
        parsed = self._fast.parser.parse_line(data) if len(data) <= _MAX_HEAD_BYTES else None
        if parsed is None:
            return False
        ref, query, block = parsed
        if block != self._block:
            self._block = block
            self._parsed_block = self._fast.parser.parse_block(block, self.client, self._parsed_block)
        parsed_block = self._parsed_block
        if parsed_block is None:
            return False
        try:
            begun = self._fast.begin(ref, query, parsed_block.sender, parsed_block.if_none_match, arrived)
        except Exception:  # noqa: BLE001  the route answers instead; the error is logged
            _log.exception("The fast path failed. The route answers instead.")
            return False
        if begun is None or (isinstance(begun, Read) and not begun.slug):
            self._note_for_route(begun, arrived)
            return False
        if self._head_timer is not None:  # a call less for each request but the first
            self._stop_head_timer()
        if isinstance(begun, tuple):
            self._send(begun, arrived)
            return True
        self._request, self._read = data, begun
        key = keys.entry_key(begun.caller.shop_id, begun.slug)
        has_tag = begun.if_none_match is not None  # mostly that of the last version: the header is enough
        self._fast.batched_reader.read(key, self._on_reply, only_header=has_tag)
        return True

    def _on_reply(self, reply: Reply) -> None:
        """Answer with what Redis had; load what it had not, and answer with that; or let the route answer."""
        request, read = self._request, self._read
        if request is None or read is None or self.transport.is_closing():
            self._request = None
            return
        if reply is None and read.is_current:
            app_state = self._fast.app_state
            app_state.start_task(app_state.load(read.caller.shop_id, read.slug, self._on_reply))
            return
        response = None
        try:
            if type(reply) is bytes:
                response = self._fast.finish(read, read.slug, reply, None)
            elif isinstance(reply, Found):
                response = self._fast.finish(read, read.slug, *reply)
        except Exception:  # noqa: BLE001  the route answers instead; the error is logged
            _log.exception("The fast path failed. The route answers instead.")
        if response is NEEDS_BODY:
            self._fast.batched_reader.read(keys.entry_key(read.caller.shop_id, read.slug), self._on_whole)
            return
        self._request = self._read = None
        if response is not None:
            self._send(response, read.arrived)
        else:
            self._give_to_route(request, read, reply)
        if self._held:
            self._receive_held()

    def _on_whole(self, reply: Reply) -> None:
        """As `_on_reply`, after an entry's body was asked for: the route answers if it has none."""
        has_none = isinstance(reply, bytes) and len(reply) <= entries.HEADER_SIZE
        self._on_reply(CacheUnavailable("an entry has no body") if has_none else reply)

    def _give_to_route(self, request: bytes, read: Read, reply: Reply) -> None:
        """Let the route answer a request that waited for this reply."""
        self._note_for_route(read, read.arrived)
        if isinstance(reply, DatabaseUnavailable):
            self._for_scope[FAILED] = reply
        super().data_received(request)
        if self._must_close:
            super().shutdown()

    def _receive_held(self) -> None:
        """Go on with what has arrived during the read."""
        held, self._held = self._held, b""
        if len(held) > _MAX_HELD_BYTES:
            self.transport.resume_reading()
        if not self.transport.is_closing():
            self.data_received(held)

    def _send(self, response: RawResponse, arrived: float) -> None:
        """Write the response, and close the connection if the process drains or ends."""
        is_last = self._must_close or self._fast.app_state.draining
        status, head, body = response
        start = self._fast.start_of(status, self.server_state.default_headers)
        end = f"{_CLOSE_LINE}\r\n" if is_last else "\r\n"
        self._corked.write_now(f"{start}{head}{end}".encode("latin-1"), body)
        self._answered_at = now = time.monotonic()
        FAST_PATH_SECONDS.observe(status, now - arrived)
        if is_last:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self._check_idleness_after(self.timeout_keep_alive)

    def _note_for_route(self, read: Read | None, arrived: float) -> None:
        """Let the route know what need not be done twice."""
        self._for_scope = {ARRIVED: arrived}
        if read is not None:
            self._for_scope |= {IDENTIFIED: read.caller, ADDED_HEADERS: [(b"ratelimit", read.limit.encode())]}

    def on_message_begin(self) -> None:
        """The first byte of a request has come to uvicorn's parser."""
        super().on_message_begin()
        self.scope.update(self._for_scope)  # type: ignore[typeddict-item]
        self._for_scope = {}

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless the fast path has answered since the timer was set."""
        idle = 0.0 if self._request is not None else time.monotonic() - self._answered_at
        if self._request is None and idle >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
        else:
            self._check_idleness_after(self.timeout_keep_alive - idle)

    def shutdown(self) -> None:
        """Close the connection once its request is answered."""
        if self._request is None:
            super().shutdown()
        self._must_close = True


def _refuse_invalid(authenticator: Authenticator, sender: Sender, reason: str) -> RawResponse:
    """401 for credentials that are not valid, 429 after many; counts it."""
    refusals = authenticator.count_refusal(sender.scope)
    if refusals.allowed:
        return _refuse(sender, _problem(problems.unauthorized, reason))
    return _refuse(sender, _problem(too_many_invalid, refusals.reset))


def _refuse(sender: Sender, problem: RawResponse, more: str = "") -> RawResponse:
    """The problem as the route and its middleware answer it, with more header lines."""
    status, head, body = problem
    return status, f"{head}{more}{_COMMON_LINES}x-request-id: {sender.request_id or make_request_id()}\r\n", body


@lru_cache(_MAX_KNOWN_HEADERS)
def _read_header(raw: bytes) -> tuple[Header, str] | None:
    """The header of a cache entry, and the ETag; None if its format is another."""
    header = entries.unpack_header(raw)
    return None if header is None else (header, make_etag(header.version, header.digest))


@lru_cache(1024)
def _problem(make: Callable[..., ProblemError], *arguments: object) -> RawResponse:
    error = make(*arguments)
    answer = problems.answer(error.kind, str(error), error.headers)
    return answer.status_code, header_lines(answer.raw_headers), bytes(answer.body)
