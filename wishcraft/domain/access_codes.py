"""Access codes of registries: which are too easy to guess, and how much wrong ones slow down further tries. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from wishcraft.domain.folding import fold
from wishcraft.domain.rate_limits import Policy

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 100
MAX_TYPED: Final = 4 * MAX_LENGTH
"""Of a code as it is typed: a letter with its accents has up to four characters. Of a longer text, `normalise` could
take seconds: with the square of the accents in a row."""
ADVICE: Final = "Take three words that only your guests connect, or ten random characters."

MANY_WRONG_CODES: Final = 50
"""Wrong codes for one registry in ten minutes, beyond which tries are slowed down."""
_FIRST_WAIT_SECONDS: Final = 15
_FIRST_PAUSE_SECONDS: Final = 0.2
WRONG_CODES: Final = Policy("wrong-codes", 16 * MANY_WRONG_CODES, 600)
"""Counts the wrong codes of all callers for one registry; beyond its quota the slowdown no longer grows."""

_MIN_CHARACTERS: Final = 4
_ROWS: Final = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl")
_SEQUENCES: Final = tuple(way for row in _ROWS for way in (row * 2, (row * 2)[::-1]))
_SHORTEST_RUN: Final = 4
"""A code whose runs, such as `abcd` or `1111`, are this long on average is a sequence."""
_COMMON: Final = frozenset({
    "accesscode", "anniversary", "baby", "babyshower", "birthday", "christmas", "gift", "giftlist", "gifts", "guest",
    "guests", "iloveyou", "letmein", "newbaby", "opensesame", "passcode", "password", "passwort", "registry", "secret",
    "wedding", "weddinglist", "welcome", "wishlist",
})  # fmt: skip
"""Words that are tried first, also with a number before or behind."""
_NOT_WORD: Final = re.compile(r"[\W_]+")
_NUMBER: Final = re.compile(r"^[0-9]+|[0-9]+$")


class Slowdown(NamedTuple):
    """Slowdown of the tries at a registry after many wrong codes."""

    wait: Policy
    """How often one sender may be wrong."""
    pause_seconds: float
    """The pause before each try."""


def normalise(code: str) -> str:
    """The one spelling of codes that look alike: composed (RFC 8265, section 4.2.2), and without spaces around it.

    Keyboards compose letters with accents differently, and those of phones add a space after a word.
    """
    return unicodedata.normalize("NFC", code).strip()


def find_weakness(code: str, names: Iterable[str] = (), day: date | None = None) -> str | None:
    """Find why this access code is too easy to guess, as a sentence; None if it is not.

    Args:
        code: The code.
        names: What every guest sees: the registry's title and slug.
        day: The date of the event.
    """
    letters = _letters(code)
    word = _NUMBER.sub("", letters)
    if len(set(letters)) < _MIN_CHARACTERS:
        reason = f"has fewer than {_MIN_CHARACTERS} different letters and digits"
    elif letters in (letters * 2)[1:-1]:
        reason = "repeats itself"
    elif _count_runs(letters) * _SHORTEST_RUN <= len(letters):
        reason = "is a sequence"
    elif word in _COMMON:
        reason = "is one of those that are tried first"
    elif any(letters in name or (len(word) >= _MIN_CHARACTERS and word in name) for name in map(_letters, names)):
        reason = "is part of the registry's title or address, or that with a number"
    elif day and letters in {f"{day:%Y%m%d}", f"{day:%d%m%Y}", f"{day:%m%d%Y}"}:
        reason = "is the date of the event"
    else:
        return None
    return f"The access code {reason}. {ADVICE}"


def slowdown(wrong_codes: int) -> Slowdown | None:
    """The slowdown after this many wrong codes for the registry; None while they are few.

    It begins with one wrong code in 15 s and a pause of 0.2 s, and doubles with the codes up to 4 minutes and 3.2 s.
    """
    doublings = (wrong_codes // MANY_WRONG_CODES).bit_length() - 1
    if doublings < 0:
        return None
    seconds = _FIRST_WAIT_SECONDS << doublings
    return Slowdown(Policy(f"wrong-code-wait-{seconds}", 1, seconds), _FIRST_PAUSE_SECONDS * 2**doublings)


def _letters(text: str) -> str:
    return _NOT_WORD.sub("", fold(text))


def _count_runs(letters: str) -> int:
    """The number of runs of one character, or along the digits, the alphabet or a row of the keyboard."""
    runs, start = 1, 0
    for end in range(1, len(letters) + 1):
        run = letters[start:end]
        if len(set(run)) > 1 and not any(run in sequence for sequence in _SEQUENCES):
            runs, start = runs + 1, end - 1
    return runs
