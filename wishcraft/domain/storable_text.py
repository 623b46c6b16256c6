"""Which texts PostgreSQL can store. Pure."""

import re
from typing import Final

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
NOT_STORABLE: Final = "contains a character that is not allowed: NUL, or half of a surrogate pair"
"""Of a text, in a message for people."""


def is_storable(text: str) -> bool:
    """Whether PostgreSQL has such a text: one without NUL and without half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """The text without what PostgreSQL does not store: NUL and halves of surrogate pairs."""
    return _UNSTORABLE.sub("", text)
