"""Hashes of access codes: argon2id, in threads, a few at once, because each takes 20 ms and 19 MiB."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wishcraft.errors import TooManyRequests

MAX_HASHES: Final = 100
"""At once, most of them waiting: a second's work. Others are sent away, and hold no connection and no memory."""
MAX_OF_REGISTRY: Final = 50
"""Of these for one registry, so that a flood of tries at one leaves a place for the others."""
_PAUSE_SECONDS: Final = 2
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's minimum for argon2id."""
_HASHING: Final = asyncio.Semaphore(2)
"""More hashes at once would take the processor from readers."""
_under_way: Final = Counter[str]()
"""The hashes under way, by registry; those of new codes under the empty text."""


async def hash_code(code: str) -> str:
    """The argon2id hash of an access code.

    Raises:
        TooManyRequests: As `require_capacity`.
    """
    async with _turn(""):
        return await asyncio.to_thread(_HASHER.hash, code)


async def verify_code(code: str, code_hash: str, registry: str) -> bool:
    """Whether the access code has this hash, which is that of the registry.

    Raises:
        TooManyRequests: As `require_capacity`.
    """
    async with _turn(registry):
        return await asyncio.to_thread(_matches, code, code_hash)


def require_capacity(registry: str) -> None:
    """Check that another hash may be made for this registry.

    Raises:
        TooManyRequests: `MAX_HASHES` are under way, or `MAX_OF_REGISTRY` for this one.
    """
    if _under_way.total() >= MAX_HASHES or _under_way[registry] >= MAX_OF_REGISTRY:
        raise TooManyRequests("Too many access codes are sent at this moment. Try again.", _PAUSE_SECONDS)


@asynccontextmanager
async def _turn(registry: str) -> AsyncIterator[None]:
    require_capacity(registry)
    _under_way[registry] += 1
    try:
        async with _HASHING:
            yield
    finally:
        _under_way[registry] -= 1
        if not _under_way[registry]:
            del _under_way[registry]


def _matches(code: str, code_hash: str) -> bool:
    try:
        return _HASHER.verify(code_hash, code)
    except (VerificationError, InvalidHashError):
        return False
