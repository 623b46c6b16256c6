"""What the fast path can read of a request: the head of a `GET` for one registry, with nothing unusual in it.

It is stricter than uvicorn's parser, never laxer, and refuses nothing: what it cannot read is uvicorn's to parse.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from api.auth.authenticator import VerifiedQuery, key_fingerprint
from api.middleware.request import REQUEST_ID
from wishcraft.domain.callers import Caller

_MAX_KNOWN: Final = 2_048
_MAX_KNOWN_BYTES: Final = 1_024
"""How many parsed queries and header blocks are kept, and the bytes that each may have."""

_END_OF_LINE: Final = b" HTTP/1.1\r\n"
_PATH: Final = re.compile(rb"GET /api/registries/((?!-)[a-z0-9-]{1,200}(?<!-))")
_QUERY: Final = re.compile(
    rb"((?:[\w.-]+=[!$'()*+,./0-9:;?@A-Z_a-z~%-]*)(?:&[\w.-]+=[!$'()*+,./0-9:;?@A-Z_a-z~%-]*)*|)"
)
"""What two servers might read differently is left out, such as an encoded name."""
_FIELD: Final = re.compile(rb"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)\r\n")
_VALUE: Final = re.compile(rb"(?! )[ -~]+(?<! )")
_IF_NONE_MATCH: Final = (b"If-None-Match: ", b"if-none-match: ")
_BLOCK: Final = re.compile(rb"(?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n){1,64}\r\n")
"""The header block, with the empty line that ends it and nothing after."""
_ALLOWED_HEADERS: Final = re.compile(
    rb"host|connection|user-agent|accept|accept-encoding|accept-language|cache-control|pragma|cookie|dnt|referer|priority|via"
    rb"|forwarded|cdn-loop|save-data|x-api-key|x-request-id|x-requested-with|x-real-ip|x-forwarded-[a-z]+"
    rb"|upgrade-insecure-requests|sec-(?:ch|fetch|gpc)[a-z-]*|x-shopify-[a-z-]+|x-amzn-[a-z-]+|cf-[a-z-]+"
    rb"|traceparent|tracestate|baggage|sentry-trace"
)
"""The headers that the fast path uses, and those that the route does not look at. With any other, the route answers."""


class Query:
    """A query that was parsed, and what is known of its signature."""

    __slots__ = ("refused_until", "text", "verified")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.verified: VerifiedQuery | None = None
        self.refused_until = 0.0
        """On the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What a header block says of its sender. Most requests of a connection have the same block."""

    scope: dict[str, Any]
    """As much of an ASGI scope as the authenticator reads."""
    has_key: bool
    fingerprint: bytes | None
    """Of the API key, if it has the format of one."""
    request_id: str | None
    guests: dict[int, Caller]
    """The caller that the sender is as a guest, by shop id, as far as it is known."""


@dataclass(slots=True)
class HeaderBlock:
    """The sender of a header block, and what it asks for."""

    sender: Sender
    if_none_match: str | None
    before: bytes
    """The bytes before the value of `If-None-Match`, with its name; none if it has no such header."""
    after: bytes
    """The bytes after the value."""


class HeadParser:
    """Parses the parts of a head, and remembers what it has parsed of queries and header blocks: most come again."""

    def __init__(self) -> None:
        self._known_query = lru_cache(_MAX_KNOWN)(_parse_query)
        self._known_sender = lru_cache(_MAX_KNOWN)(_parse_sender)

    def parse_line(self, head: bytes) -> tuple[str, Query, bytes] | None:
        """The ref and the query of the request line, and the header block after it; None if uvicorn must parse it."""
        line, _, block = head.partition(_END_OF_LINE)
        path, _, text = line.partition(b"?")
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        query = (self._known_query if len(text) <= _MAX_KNOWN_BYTES else _parse_query)(text)
        return None if query is None else (match[1].decode(), query, block)

    def parse_block(
        self, block: bytes, client: tuple[str, int] | None, last: HeaderBlock | None = None
    ) -> HeaderBlock | None:
        """What a header block says; None if uvicorn must parse it.

        `last` is the block before, of the same client. It is changed and returned if it differs in the tag alone.
        """
        # Most blocks of a connection differ from the last one in the value of `If-None-Match` alone.
        if last is not None and last.after and block.startswith(last.before) and block.endswith(last.after):
            value = block[len(last.before) : -len(last.after)]
            if _VALUE.fullmatch(value):
                last.if_none_match = value.decode()
                return last
        address, if_none_match, start, end = client[0] if client else "", None, b"", b""
        for name in _IF_NONE_MATCH:  # apart from the rest, as each registry has another ETag
            before, found, after = block.rpartition(name)
            if found:
                value, _, after = after.partition(b"\r\n")
                block, if_none_match = before + after, value.decode("latin-1")
                start, end = before + name, b"\r\n" + after
                follows_a_line = before.endswith(b"\r\n") and not before.endswith(b"\r\n\r\n")  # and is not a body
                if (before and not follows_a_line) or not _VALUE.fullmatch(value):
                    return None
                break
        sender = (self._known_sender if len(block) <= _MAX_KNOWN_BYTES else _parse_sender)(block, address)
        return None if sender is None else HeaderBlock(sender, if_none_match, start, end)


def _parse_query(text: bytes) -> Query | None:
    """The query, if two servers read each parameter alike, and none is a grant, which the route has to look up."""
    return Query(text) if _QUERY.fullmatch(text) and b"grant=" not in text else None


def _parse_sender(block: bytes, address: str) -> Sender | None:
    """The sender, if each header is one of `_ALLOWED_HEADERS` and occurs once."""
    if not _BLOCK.fullmatch(block):
        return None
    fields = _FIELD.findall(block)
    headers = {name.lower(): value for name, value in fields}
    if (
        len(headers) < len(fields)
        or not all(map(_is_allowed, headers))
        or b"host" not in headers
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    forwarded_for = [(name, value) for name, value in headers.items() if name == b"x-forwarded-for"]
    scope: dict[str, Any] = {"method": "GET", "client": (address, 0), "headers": forwarded_for}
    key, request_id = headers.get(b"x-api-key", b"").decode(), headers.get(b"x-request-id", b"").decode()
    usable_id = request_id if REQUEST_ID.fullmatch(request_id) else None
    return Sender(scope, b"x-api-key" in headers, key_fingerprint(key), usable_id, {})


@lru_cache(1024)
def _is_allowed(name: bytes) -> bool:
    return _ALLOWED_HEADERS.fullmatch(name) is not None
