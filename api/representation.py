"""The headers of a registry's response, for the fast path and the route alike."""

from typing import Final

from wishcraft.cache.registries import CacheState

RawHeaders = list[tuple[bytes, bytes]]

ON_EVERY_RESPONSE: Final[RawHeaders] = [(b"x-content-type-options", b"nosniff")]
"""Except the refusals that `api/server.py` writes itself."""
CLOSE: Final = (b"connection", b"close")
"""Sent while the process drains, so that the proxy opens its next connection to another process."""
JSON: Final = (b"content-type", b"application/json")
NO_CACHE: Final = (b"cache-control", b"private, no-cache")
"""A browser revalidates its copy by the ETag each time. It sends the same URL for a guest and, after the login, for the
registrant, who must see their own change; and a new access code must end what the old one opened."""
TO_CHANGE: Final = (b"cache-control", NO_CACHE[1] + b", no-transform")
"""For the registrant, whose next change names the ETag: a proxy that compresses a response makes its tag weak, and a
weak tag allows no change (RFC 9110, sections 7.7 and 13.1.1)."""
NO_STORE: Final = (b"cache-control", b"no-store")
"""On each response of a route that says nothing else of caches. One in front of the API may keep a 200 or a 404 without
it (RFC 9111, section 4.2.2), and give it to others: callers share their URLs, and their keys are in headers."""
X_CACHE: Final = {state: (b"x-cache", state.value.encode()) for state in CacheState}


def header_lines(headers: RawHeaders) -> str:
    """The header lines of a response, as text: to format and join it takes half as long as bytes."""
    return b"".join([b"%b: %b\r\n" % header for header in headers]).decode("latin-1")


_LINES: Final = {
    state: [(b"etag", b"%s"), NO_CACHE, X_CACHE[state], (b"ratelimit", b"%s"), *ON_EVERY_RESPONSE]
    for state in CacheState
}
NOT_MODIFIED_HEAD: Final = {state: header_lines(lines).split("%s") for state, lines in _LINES.items()}
"""The header lines of a 304, as the texts around the ETag and `RateLimit`: to join them takes half the time of `%`."""
OK_HEAD: Final = {
    state: header_lines([(b"content-length", b"%s"), JSON, *lines]).split("%s") for state, lines in _LINES.items()
}
"""The headers of a 200, as the texts around the length of its body, the ETag and the value of `RateLimit`."""
