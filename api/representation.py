"""The HTTP response of a registry, for the fast path and the route alike. Pure."""

from http import HTTPStatus
from typing import Final, NamedTuple

from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import CacheState
from wishcraft.domain.etags import make_etag, matches

RawHeaders = list[tuple[bytes, bytes]]

ON_EVERY_RESPONSE: Final[RawHeaders] = [(b"x-content-type-options", b"nosniff")]
"""Except the refusals that `api/server.py` writes itself."""
CLOSE: Final = (b"connection", b"close")
"""Sent while the process drains, so that the proxy opens its next connection to another process."""
_JSON: Final = (b"content-type", b"application/json")
_NO_CACHE: Final = (b"cache-control", b"private, no-cache")
"""A browser revalidates its copy by the ETag each time. It sends the same URL for a guest and, after the login, for the
registrant, who must see their own change; and a new access code must end what the old one opened."""
_X_CACHE: Final = {state: (b"x-cache", state.value.encode()) for state in CacheState}


class Representation(NamedTuple):
    """A response that is ready to be sent."""

    status: int
    headers: RawHeaders
    body: bytes


def represent(entry: Entry, cache_state: CacheState, *, if_none_match: str | None) -> Representation:
    """200 with the registry, or 304 if `if_none_match` has its ETag.

    Args:
        entry: The registry.
        cache_state: The value of `X-Cache`.
        if_none_match: The value of the request's `If-None-Match`.
    """
    header = entry.header
    etag = make_etag(header.version, header.digest)
    common = [(b"etag", etag.encode()), _NO_CACHE, _X_CACHE[cache_state]]
    if if_none_match is not None and matches(if_none_match, etag):
        return Representation(HTTPStatus.NOT_MODIFIED, common, b"")
    body = entry.body
    return Representation(HTTPStatus.OK, [(b"content-length", b"%d" % len(body)), _JSON, *common], body)


def header_lines(headers: RawHeaders) -> str:
    """The header lines of a response, as text: it takes half as long to format and join as bytes."""
    return b"".join([b"%b: %b\r\n" % header for header in headers]).decode("latin-1")


_LINES: Final = {
    state: [(b"etag", b"%s"), _NO_CACHE, _X_CACHE[state], (b"ratelimit", b"%s"), *ON_EVERY_RESPONSE]
    for state in CacheState
}
NOT_MODIFIED_HEAD: Final = {state: header_lines(lines).split("%s") for state, lines in _LINES.items()}
"""The header lines of a 304, as the texts around the ETag and `RateLimit`: to join them takes half the time of `%`."""
OK_HEAD: Final = {
    state: header_lines([(b"content-length", b"%s"), _JSON, *lines]).split("%s") for state, lines in _LINES.items()
}
"""Those of a registry, as the texts around the length of its body, the ETag and the value of `RateLimit`."""
