"""Hashes of access codes: argon2id, in threads, a few at once, because each takes 20 ms and 19 MiB."""

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wishcraft.errors import TooManyRequests

MAX_VERIFICATIONS: Final = 100
"""At once, most of them waiting: a second's work. Others are sent away, and hold no connection and no memory."""
_PAUSE_SECONDS: Final = 2
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's minimum for argon2id."""
_HASHING: Final = asyncio.Semaphore(2)
"""More hashes at once would take the processor from readers."""
_verifications: Final = set[object]()
"""The verifications under way."""


async def hash_code(code: str) -> str:
    """The argon2id hash of an access code."""
    async with _HASHING:
        return await asyncio.to_thread(_HASHER.hash, code)


async def verify_code(code: str, code_hash: str) -> bool:
    """Whether the access code has this hash.

    Raises:
        TooManyRequests: `MAX_VERIFICATIONS` are under way.
    """
    if len(_verifications) >= MAX_VERIFICATIONS:
        raise TooManyRequests("Too many access codes are tried at this moment. Try again.", _PAUSE_SECONDS)
    verification = object()
    _verifications.add(verification)
    try:
        async with _HASHING:
            return await asyncio.to_thread(_matches, code, code_hash)
    finally:
        _verifications.discard(verification)


def _matches(code: str, code_hash: str) -> bool:
    try:
        return _HASHER.verify(code_hash, code)
    except (VerificationError, InvalidHashError):
        return False
