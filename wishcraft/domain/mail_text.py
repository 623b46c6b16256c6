"""People's texts as one line of a mail, in which no mail program finds a link. Pure."""

import re
import unicodedata
from typing import Final

_DOTS: Final = ".\u2024\u3002\ufe52\uff0e\uff61"
"""Characters that IDNA (UTS 46) and compatibility normalization (NFKC) treat as the dot of a domain."""
_INVISIBLE: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0"
    r"\u2065\ufff0-\ufff8\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
"""Letters, marks and a symbol without a shape, and what Unicode reserves for invisible characters."""
_JOINERS: Final = "\u200c\u200d"
"""Invisible characters that Persian, Indic scripts and emoji need."""
_UNSEEN: Final = rf"[{_JOINERS}\u0300-\u036f\ufe00-\ufe0f\U000e0100-\U000e01ef]*"
"""Characters that may precede a letter and do not separate it from a dot."""
_LINKS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"[/\\]{2,}"), " "),  # https://, //host, \\host
    (re.compile(r"(?<=[^\W\d_]):(?=[\w/\\+?%#\[])"), ": "),  # mailto:, tel:
    (re.compile(r"(?<=\S)@|@(?=\S)"), " @ "),
    (
        re.compile(rf"(?<=\S)(?<![0-9])([{_DOTS}])(?={_UNSEEN}\w)|(?<=[0-9])([{_DOTS}])(?={_UNSEEN}[^\W0-9])"),
        r"\1\2 ",
    ),
)
_NUMBERS: Final = re.compile(rf"(?<![0-9])[0-9]++(?:[{_DOTS}][0-9]++){{2,}}")
"""Such as an IP address; a number with one dot stays as it is. Guests write what this is searched in: without the sign
before it and `++`, a number of 1,000 digits would take a tenth of a second."""


def one_line(text: str) -> str:
    """The text in one line, without invisible characters, and with a space in all that a mail program would link.

    `Visit www.example.com/a` becomes `Visit www. example. com/a`; `No.5` and `Mr.Smith` get a space too, `2.5 l` does
    not. Applying it twice changes nothing more.
    """
    visible = "".join(_visible(character) for character in text)
    spaced = _NUMBERS.sub(lambda match: re.sub(rf"([{_DOTS}])", r"\1 ", match[0]), visible)
    for pattern, replacement in _LINKS:
        spaced = pattern.sub(replacement, spaced)
    return " ".join(spaced.split())


def _visible(character: str) -> str:
    """The character, a space for a control character, or nothing for one that is invisible or turns the direction."""
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    is_hidden = category in {"Cf", "Cs"} and character not in _JOINERS
    return "" if is_hidden or _INVISIBLE.match(character) else character
