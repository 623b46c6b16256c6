"""The values of a request that must not reach a log line or a Sentry event."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from wishcraft.observability.redaction import is_secret_name

_SECRET_HEADERS: Final = frozenset({b"authorization", b"cookie", b"x-api-key", b"x-registry-grant"})


@dataclass(slots=True, eq=False)
class RequestSecrets:
    """The secret headers and query parameters of a request, and every text in its body, which is personal data."""

    scope: Scope
    body: Sequence[bytes]
    """The parts that have arrived; there may be more later."""
    _found: tuple[int, frozenset[str]] = field(default=(-1, frozenset()), init=False)

    def __call__(self) -> frozenset[str]:
        """The values so far; searched again only when more of the body has arrived."""
        if self._found[0] != len(self.body):
            self._found = len(self.body), frozenset(_secrets_of(self.scope, self.body))
        return self._found[1]


def _secrets_of(scope: Scope, body: Sequence[bytes]) -> Iterator[str]:
    for name, value in scope["headers"]:
        if name in _SECRET_HEADERS:
            yield value.decode("latin-1")
    for name, text in parse_qsl(scope["query_string"].decode("latin-1")):
        if is_secret_name(name):
            yield text
    try:
        yield from _texts(json.loads(b"".join(body)))  # not orjson, which accepts less than FastAPI
    except (ValueError, RecursionError):  # it is not JSON, or is nested too deeply
        yield b"".join(body).decode(errors="replace")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (value, value.strip())
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
