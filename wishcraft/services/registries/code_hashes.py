"""Hashes of access codes: argon2id, in threads, a few at once, because each takes 20 ms and 19 MiB."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wishcraft.domain.access_codes import normalise
from wishcraft.errors import TooManyTries

MAX_HASHES: Final = 100
"""At once, most of them waiting: a second's work. Others are refused, and hold no connection and no memory."""
MAX_OF_REGISTRY: Final = 50
MAX_OF_SENDER: Final = 10
"""Of these for one registry and for one sender, so that a flood leaves a place for the others."""
Shares = Mapping[str, int]
"""The registry and the senders that a hash is made for, each with its limit of hashes under way."""
_PAUSE_SECONDS: Final = 2
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's minimum for argon2id."""
_THREADS: Final = ThreadPoolExecutor(2, "access-codes")
"""More hashes at once would take the processor from readers."""
_under_way: Final = Counter[str]()
"""The hashes under way by name of their shares, and all of them under the empty name."""


async def hash_code(code: str, sender: str) -> str:
    """The argon2id hash of a new access code.

    Raises:
        TooManyTries: As `require_capacity`.
    """
    with _turn({sender: MAX_OF_SENDER}):
        return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, code)


async def verify_code(code: str, code_hash: str, shares: Shares) -> bool:
    """Whether the access code has this hash.

    Raises:
        TooManyTries: As `require_capacity`.
    """
    with _turn(shares):
        return await asyncio.get_running_loop().run_in_executor(_THREADS, _matches, code, code_hash)


def require_capacity(shares: Shares) -> None:
    """Check that another hash may be made.

    Raises:
        TooManyTries: `MAX_HASHES` are under way, or as many as one of these shares.
    """
    if any(_under_way[name] >= share for name, share in {**shares, "": MAX_HASHES}.items()):
        raise TooManyTries("Too many access codes are sent at this moment. Try again.", _PAUSE_SECONDS)


@contextmanager
def _turn(shares: Shares) -> Iterator[None]:
    require_capacity(shares)
    names = ["", *shares]
    _under_way.update(names)
    try:
        yield
    finally:
        _under_way.subtract(names)
        for name in names:
            if not _under_way[name]:
                del _under_way[name]


def _matches(code: str, code_hash: str) -> bool:
    for spelling in dict.fromkeys((normalise(code), code)):  # until 1.19, codes were hashed as they were typed
        with suppress(VerificationError, InvalidHashError):
            return _HASHER.verify(code_hash, spelling)
    return False
