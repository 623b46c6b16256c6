"""What a request or a run is about, for each of its log lines and reports; and what it carries that none may tell."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

Secrets = Callable[[], Iterable[str]]

_subject: Final[ContextVar[dict[str, str] | None]] = ContextVar("subject", default=None)
_carried: Final[ContextVar[Secrets | None]] = ContextVar("carried", default=None)
_of_the_process: frozenset[str] = frozenset()


@contextmanager
def log_context(carried: Secrets | None = None, /, **current_context: str) -> Iterator[None]:
    """Within the block, tell of this, such as `request_id="…"`; `carried` gives the values not to be told, if asked."""
    before, carried_before = _subject.get(), _carried.get()
    subject_token = _subject.set({**(before or {}), **current_context})
    carried_token = _carried.set(carried or carried_before)
    try:
        yield
    finally:
        _subject.reset(subject_token)
        _carried.reset(carried_token)


def bind(**current_context: str) -> None:
    """Tell of this too for the rest of the block of `about`; outside of any, nothing."""
    known = _subject.get()
    if known is not None:
        known.update(current_context)


def current_context() -> Mapping[str, str]:
    """What is to be told here."""
    return _subject.get() or {}


def register_secrets(values: Iterable[str]) -> None:
    """Never tell these in this process: the secrets that it was started with."""
    global _of_the_process  # noqa: PLW0603  the one thing here that a process has
    _of_the_process = _of_the_process.union(values)


def known_secrets() -> frozenset[str]:
    """All that is not to be told here, in whatever text it may sit."""
    carried = _carried.get()
    return _of_the_process.union(carried()) if carried else _of_the_process
