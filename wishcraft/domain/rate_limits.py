"""Rate limit policies and their response headers. Pure.

Limits are set in `api/state.py`, `api/auth/authenticator.py`, `api/routes/unsubscribe.py`,
`services/registries/code_tries.py`, `services/variants/reader.py` and `domain/access_codes.py`.

The headers follow the draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10).
"""

from dataclasses import dataclass
from typing import Final

SERVER_FACTOR: Final = 10
"""A server's key sends the requests of many guests: it may send this many times as many as one person."""


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `quota` requests in each window of `seconds`; windows begin at multiples of their length (Unix time)."""

    name: str
    quota: int
    seconds: int

    @property
    def field(self) -> str:
        """The value of the response header `RateLimit-Policy`: name, quota and window, as `"visitor";q=600;w=60`."""
        return f'"{self.name}";q={self.quota};w={self.seconds}'

    def limit_field(self, remaining: int, reset: int) -> str:
        """The value of the response header `RateLimit`: what remains, and for how long, as `"visitor";r=599;t=12`.

        Of a refused request, `remaining` is -1, and the field says 0.
        """
        left = remaining if remaining > 0 else 0  # noqa: FURB136  a call takes half as long as the rest
        return f'"{self.name}";r={left};t={reset}'


@dataclass(slots=True)
class Verdict:
    """Whether the request is within the limit, the remaining quota, and the seconds until the quota resets."""

    allowed: bool
    remaining: int
    reset: int
