"""Known values are found as they are and in any two encodings of Python, JSON, URLs, HTML and base64."""

import base64
import html
import json
import string
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus, unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.observability import known_values
from wishcraft.observability.known_values import replace_known
from wishcraft.observability.redaction import MAX_CHARACTERS, MAX_KNOWN, redact_text

Encoder = Callable[[str], str]
MARK: Final = "█"
PIECES: Final = st.sampled_from(
    [*"'\"\\%&+ /;#=<aZ09\n\t\x00\x85\xa0\xadéÃ©Â日😀\u2028\U000e0001", "\\n", "\\x41", "%25", "&amp;", "amp;", "=="]
)
"""Characters that are escaped somewhere, look like an escape, or have several bytes."""
CHARACTERS: Final = st.one_of(st.integers(0x20, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
VALUES: Final = st.lists(st.one_of(PIECES, CHARACTERS), min_size=4, max_size=20).map("".join)
TEXTS: Final = st.sampled_from(
    ["{}", "it's {}", '"{}"', 'it\'s "{}"', "é \"{}'", "a=1&b={}&c", "C:\\{}\\", "50 %{}% off", "&{};", "Ã{}©"]
)


def percent_encoder(safe: frozenset[str], is_lower: bool) -> Encoder:
    """Like `quote`, with other characters left alone and hexadecimal digits of either case."""

    def encode(text: str) -> str:
        characters = (character if character in safe else quote(character, "") for character in text)
        return "".join(each.lower() if is_lower and len(each) > 1 else each for each in characters)

    return encode


def base64_encoder(before: bytes, after: bytes, encode: Callable[[bytes], bytes]) -> Encoder:
    """Base64 of the text between other bytes, which shift it by a part of a letter."""
    return lambda text: encode(before + text.encode() + after).decode()


ENCODERS: Final = st.one_of(
    st.sampled_from(
        [
            str,
            repr,
            ascii,
            lambda text: repr(text.encode()),
            lambda text: repr(bytearray(text.encode())),
            json.dumps,
            lambda text: json.dumps(text, ensure_ascii=False),
            lambda text: orjson.dumps(text).decode(),
            quote,
            quote_plus,
            html.escape,
            lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
        ]
    ),
    st.builds(percent_encoder, st.frozensets(st.sampled_from(string.punctuation.replace("%", ""))), st.booleans()),
    st.builds(
        base64_encoder,
        st.binary(max_size=3),
        st.binary(max_size=3),
        st.sampled_from([base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes]),
    ),
)


@given(VALUES, TEXTS, ENCODERS, ENCODERS)
def test_a_known_value_is_found_in_any_two_encodings(value: str, text: str, inner: Encoder, outer: Encoder) -> None:
    assert MARK in replace_known(outer(inner(text.format(value))), {value}, MARK)


@pytest.mark.parametrize(
    ("text", "clean"),
    [("{}", 'b"█"'), ('"{}"', "b'\"█\"'"), ('it\'s "{}"', "b'it\\'s \"█\"'")],
)
def test_an_apostrophe_and_an_accent_in_a_bytes_literal_are_found(text: str, clean: str) -> None:
    assert replace_known(repr(text.format("Zoë's garden").encode()), {"Zoë's garden"}, MARK) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Émile & co is too long", "█ is too long"),
        ("GET /api/a?title=%C3%89mile+%26%20co&limit=3", "GET /api/a?title=█&limit=3"),
        (r'{"title": "\u00c9mile & co", "limit": 3}', '{"title": "█", "limit": 3}'),
        (r"KeyError('{\"title\": \"\\u00c9mile & co\"}')", r"KeyError('{\"title\": \"█\"}')"),
        (r"b'title=\xc3\x89mile & co'", "b'title=█'"),
        ("<b>&#201;mile &amp; co</b>", "<b>█</b>"),
        ("<b>&Eacute;mile &amp; co</b>", "<b>█</b>"),
        (f"login {base64.b64encode('u:Émile & co'.encode()).decode()} of 3", "login dT█== of 3"),
        ("Émile & co, Émile & co", "█, █"),
    ],
)
def test_the_text_around_a_known_value_is_kept(text: str, clean: str) -> None:
    assert replace_known(text, {"Émile & co"}, MARK) == clean


def test_values_that_overlap_are_replaced_as_one() -> None:
    assert replace_known("the rose garden gate", {"rose garden", "garden gate", "rose"}, MARK) == "the █"


def test_a_lone_surrogate_in_a_known_value_is_found_as_python_writes_it() -> None:
    value = "rose\ud800garden"
    for text in (ascii(value), json.dumps(value), quote(value, errors="replace"), repr(value.encode(errors="replace"))):
        assert MARK in replace_known(text, {value}, MARK)


def test_short_values_and_unknown_escapes_are_kept() -> None:
    text = "a short %zz \\q &nothing; &#99999999; text \\"
    assert replace_known(text, {"abc", "tex", "another"}, MARK) == text


@pytest.mark.parametrize(
    "piece",
    [
        "%25",
        "%2525",
        "\\\\",
        r"\x5c",
        "&amp;",
        "&#37;",
        "&",
        "Ã©",
        "YWJj",
        "JTI1",
        "%25\\x5c&amp;JTI1",
        "secret value 1",
    ],
)
def test_decoding_a_hostile_text_is_linear_in_its_length(piece: str) -> None:
    text = (piece * MAX_CHARACTERS)[:MAX_CHARACTERS]
    views = list(known_values._views(text))
    assert sum(len(view.text) for view in views) < 40 * len(text)
    known = {f"{piece} secret value {number} é" for number in range(MAX_KNOWN)}
    assert redact_text(text, known)


def test_the_encoder_of_urls_is_undone_by_python() -> None:
    assert unquote(percent_encoder(frozenset("'/"), is_lower=True)("Zoë's/50 %")) == "Zoë's/50 %"
