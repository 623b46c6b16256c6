"""How a registry that was read goes out: the same bytes from the edge and from the route. Pure."""

from http import HTTPStatus
from typing import Final, NamedTuple

from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import CacheState
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.rate_limits import Policy, Verdict

RawHeaders = list[tuple[bytes, bytes]]

SECURITY: Final = (b"x-content-type-options", b"nosniff")
"""On every answer; what is a page brings more."""
CLOSE: Final = (b"connection", b"close")
"""Sent while the process is about to stop: the proxy in front opens its next connection to another one."""
_JSON: Final = (b"content-type", b"application/json")
_FOR_GUESTS: Final = (b"cache-control", b"private, max-age=0, stale-while-revalidate=30")
"""A guest's browser shows what it has at once and asks behind it: what it shows is at most half a minute behind."""
_FOR_ITS_OWN: Final = (b"cache-control", b"private, no-cache")
"""A registrant who has just changed something must see it; so must who gave a code, until it no longer opens."""
_STATES: Final = {state: (b"x-cache", state.value.encode()) for state in CacheState}


class Representation(NamedTuple):
    """An answer, ready to be sent."""

    status: int
    headers: RawHeaders
    body: bytes


def represent(entry: Entry, state: CacheState, *, is_own: bool, if_none_match: bytes | None) -> Representation:
    """The registry, or that it is as it was.

    Args:
        entry: The registry.
        state: Where it came from.
        is_own: Whether its registrant reads it.
        if_none_match: The tags that the reader has.
    """
    header = entry.header
    etag = header.etag.encode()
    freshness = _FOR_ITS_OWN if is_own or header.access_level is not AccessLevel.OPEN else _FOR_GUESTS
    common = [(b"etag", etag), freshness, _STATES[state]]
    if if_none_match is not None and etag in if_none_match:
        return Representation(HTTPStatus.NOT_MODIFIED, common, b"")
    body = entry.body
    return Representation(HTTPStatus.OK, [(b"content-length", b"%d" % len(body)), _JSON, *common], body)


def limit_header(policy: Policy, verdict: Verdict) -> tuple[bytes, bytes]:
    """What tells a caller how much is left."""
    return (b"ratelimit", verdict.field(policy).encode())
