"""Finds known values in a text, as they are or encoded up to twice. Pure.

It decodes the text instead of encoding the values: one value has many encodings (URLs may escape any character, base64
has three alignments), and a text has few decodings.
"""

import re
from binascii import a2b_base64
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from functools import cache, lru_cache
from html.entities import html5
from typing import Final, NamedTuple

MIN_CHARACTERS: Final = 4
"""Shorter values are ignored: they occur in too many harmless words."""
_LAYERS: Final = 2
"""Encodings within each other that are decoded, such as a Python literal of JSON."""

Span = tuple[int, int]


class _View(NamedTuple):
    """A decoding of the text."""

    text: str
    origin: Callable[[int, int], Span]
    """Returns the span of the original text that a span of this one was decoded from."""


class _Escape(NamedTuple):
    """A way to write a character as several."""

    first: str
    pattern: re.Pattern[str]
    decode: Callable[[str], str]


def replace_known(text: str, known: Collection[str], replacement: str) -> str:
    """Replace each known value in the text.

    Finds it as `str`, `repr`, `ascii`, JSON, URLs, HTML, bytes literals and base64 write it, alone or as a part of a
    longer text, and in two of these within each other. Values that overlap are replaced as one.
    """
    values = _searched(frozenset(known))
    if not values:
        return text
    pieces, done = [], 0
    for start, end in sorted({span for view in _views(text) for span in _find(view, values)}):
        if start >= done:
            pieces += [text[done:start], replacement]
        done = max(done, end)
    return "".join([*pieces, text[done:]])


@lru_cache(maxsize=8)
def _searched(known: frozenset[str]) -> frozenset[str]:
    """Return the texts to search for. Cached, as one event has many texts to search in."""
    values = {value for value in known if len(value) >= MIN_CHARACTERS}
    encodable = {value.encode(errors="replace").decode() for value in values}  # a lone surrogate becomes `?`
    return frozenset(value.replace("+", " ") for value in values | encodable)


def _find(view: _View, values: Collection[str]) -> Iterator[Span]:
    """Yield the spans of the original text where a value is in the view, or in the UTF-8 that its characters are."""
    for decoded in (view, *_unescaped(view, _UTF_8)):
        text = decoded.text.replace("+", " ")  # which URLs write for a space
        for value in values:
            start = text.find(value)
            while start >= 0:
                yield decoded.origin(start, start + len(value))
                start = text.find(value, start + len(value))


def _views(text: str) -> Iterator[_View]:
    """Yield the text, then what each sequence of up to `_LAYERS` decoders makes of it."""
    seen, views = {text}, [_View(text, lambda start, end: (start, end))]
    yield from views
    for _ in range(_LAYERS):
        decoded = [each for view in views for each in _decodings(view)]
        views = []
        for view in decoded:
            if view.text not in seen:
                seen.add(view.text)
                views.append(view)
        yield from views


def _decodings(view: _View) -> Iterator[_View]:
    for escape in _ESCAPES:
        yield from _unescaped(view, escape)
    yield from _base64_decoded(view)


def _unescaped(view: _View, escape: _Escape) -> Iterator[_View]:
    """Yield the view with its escaped characters decoded, if it has any."""
    if escape.first not in view.text:
        return
    ends, shifts = [0], [0]

    def decode(match: re.Match[str]) -> str:
        character = escape.decode(match[0])
        shifts.append(shifts[-1] + len(match[0]) - len(character))
        ends.append(match.end() - shifts[-1])
        return character

    def origin(start: int, end: int) -> Span:
        return view.origin(*(place + shifts[bisect_right(ends, place) - 1] for place in (start, end)))

    text = escape.pattern.sub(decode, view.text)
    if shifts[-1]:
        yield _View(text, origin)


def _base64_decoded(view: _View) -> Iterator[_View]:
    """Yield the four decodings of all letters of base64 in the view: it may begin with any of them."""
    if not _BASE64.search(view.text):
        return
    letters = _OTHERS.sub("", view.text).replace("-", "+").replace("_", "/")

    @cache
    def places() -> list[int]:
        return [match.start() for match in _LETTER.finditer(view.text)]

    for offset in range(4):
        padding = "A" * ((offset - len(letters)) % 4)

        def origin(start: int, end: int, offset: int = offset) -> Span:
            first, last = offset + start * 4 // 3, offset + (end * 4 - 1) // 3
            return view.origin(places()[first], places()[min(last, len(letters) - 1)] + 1)

        yield _View(a2b_base64(letters[offset:] + padding).decode("latin-1"), origin)


def _decode_backslash(escape: str) -> str:
    numbers = [int(digits, 16) for digits in re.split(r"\\[xuU]", escape)[1:]]
    if len(numbers) > 1:  # a surrogate pair
        return chr(0x10000 + ((numbers[0] & 0x3FF) << 10) + (numbers[1] & 0x3FF))
    return chr(numbers[0]) if numbers else _CONTROLS.get(escape[1], escape[1])


def _decode_reference(reference: str) -> str:
    """Decode a character reference of HTML; one that is unknown or means two characters stays."""
    if reference[1] != "#":
        character = html5.get(reference[1:], "")
        return character if len(character) == 1 else reference
    number = int(reference[3:-1], 16) if reference[2] in "xX" else int(reference[2:-1])
    return chr(number) if number <= _MAX_CODE_POINT else reference


_MAX_CODE_POINT: Final = 0x10FFFF
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX: Final = "[0-9a-fA-F]"
_ESCAPES: Final = (
    _Escape(
        "\\",
        re.compile(
            rf"\\(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|U00(?:0{_HEX}|10){_HEX}{{4}}"
            rf"|x{_HEX}{{2}}|[bfnrt'\"/\\])"
        ),
        _decode_backslash,
    ),
    _Escape("%", re.compile(rf"%{_HEX}{{2}}"), lambda escape: chr(int(escape[1:], 16))),
    _Escape("&", re.compile(rf"&(?:#\d{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z]\w{{1,31}});"), _decode_reference),
)
_UTF_8: Final = _Escape(
    "",
    re.compile(
        "[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
        "|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
    ),
    lambda characters: characters.encode("latin-1").decode(),
)
"""Bytes that were decoded to a character each, as those in a bytes literal, in a URL or in base64."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{6}")
"""The least that a value of `MIN_CHARACTERS` becomes."""
_LETTER: Final = re.compile(r"[A-Za-z0-9+/_-]")
_OTHERS: Final = re.compile(r"[^A-Za-z0-9+/_-]+")
