"""Context of a request or a run: fields for its log lines and Sentry events, and secrets to redact from both."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

Secrets = Callable[[], Iterable[str]]
"""Returns secret values. It is called only when a text is redacted, so collecting them may cost time."""

_context: Final[ContextVar[dict[str, str] | None]] = ContextVar("context", default=None)
_context_secrets: Final[ContextVar[Secrets | None]] = ContextVar("context_secrets", default=None)
_process_secrets: frozenset[str] = frozenset()


@contextmanager
def log_context(secrets: Secrets | None = None, /, **fields: str) -> Iterator[None]:
    """Add fields, such as `request_id="…"`, to the context within the block.

    Args:
        secrets: Replaces the secrets of the enclosing block, if given.
        fields: Override fields of the same names of the enclosing block.
    """
    context_token = _context.set({**(_context.get() or {}), **fields})
    secrets_token = _context_secrets.set(secrets or _context_secrets.get())
    try:
        yield
    finally:
        _context.reset(context_token)
        _context_secrets.reset(secrets_token)


def bind(**fields: str) -> None:
    """Add fields to the context until the innermost `log_context` block ends. Outside any block it does nothing."""
    context = _context.get()
    if context is not None:
        context.update(fields)


def current_context() -> Mapping[str, str]:
    """Return the fields of the current request or run; empty outside any."""
    return _context.get() or {}


def register_secrets(values: Iterable[str]) -> None:
    """Redact these values from now on in every context: the secrets in the process's own settings."""
    global _process_secrets  # noqa: PLW0603  secrets of settings belong to the process, not to a context
    _process_secrets = _process_secrets.union(values)


def known_secrets() -> frozenset[str]:
    """Return the secrets of the process and of the current context."""
    secrets = _context_secrets.get()
    return _process_secrets.union(secrets()) if secrets else _process_secrets
