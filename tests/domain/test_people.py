"""By what a value is known to be about a person."""

import unicodedata
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.domain.addresses import address_hash
from wishcraft.domain.people import find_mentions, has_sign, make_person, make_signs, spellings

PERSON = make_person(7, {5_001}, {9_001}, "Ada.Byron@Bücher.example ", "+1 (555) 625-1199")


def is_about(content: Any, words: tuple[str, ...] = (), shop_id: int = 7) -> bool:
    return find_mentions(content, shop_id).are_of(PERSON, words)


@pytest.mark.parametrize(
    "content",
    [
        {"customer": {"id": 5_001}}, [{"order_id": 9_001}], "gid://shopify/Customer/5001",
        "see gid://shopify/Order/9001.",
        {"email": "ada.byron@bücher.example"}, {"note": "Write to <ADA.Byron@xn--bcher-kva.example>, please."},
        {"a": [{"b": "555-625-1199"}]}, "call 001 555 625 1199 now", {"ada.byron@bücher.example": 1},
        {"x": "+15556251199"},
    ],
)  # fmt: skip
def test_value_with_an_id_the_address_or_the_telephone_number_is_about_the_person(content: Any) -> None:
    assert is_about(content)


@pytest.mark.parametrize(
    "content",
    [
        {"customer": {"id": 50_011}}, "gid://shopify/Product/5001", "gid://shopify/Customer/50010", "5001",
        "xada.byron@bücher.example", "ada.byron@example", {"phone": "555-625-1190"}, None, 1.5, True, {}, "@", "@@", "",
    ],
)  # fmt: skip
def test_other_value_is_not(content: Any) -> None:
    assert not is_about(content)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"email": "ADA.byron@x.example"}', True), (b'{"p": "(555) 625-1199"}', True), (b"\\u0061da.byron", True),
        (b'{"p": "555-625-1190", "email": "ida@x.example"}', False), (b'{"id": 15}', True), (b"", False),
        (b'{"id": 150}', False), (b'{"url": "\\/?a=1\\u0026b=\\u003cp\\u003e"}', False), (b'"\\\\u0061"', True),
    ],
)  # fmt: skip
def test_sign_is_found_wherever_a_mention_can_be(payload: bytes, expected: bool) -> None:
    signs = make_signs("Ada.Byron@bücher.example", "+1 (555) 625-1199")
    assert signs is not None
    assert has_sign(payload, signs, {b"15"}) is expected


@pytest.mark.parametrize(
    "email", ["zoë@example.com", '"a b"@example.com', "a\\b@example.com", "a\tb@x.example", "@x", "x"]
)
def test_address_that_json_can_write_in_many_forms_gives_no_signs(email: str) -> None:
    assert make_signs(email, None) is None


_LOCAL = st.text(st.sampled_from("abkK09.!#$%&'*+/=?^_`{|}~- \"\\éßİK\u0307`"), min_size=1, max_size=12)
_DOMAINS = st.sampled_from(["example.com", "Bücher.example", "xn--bcher-kva.example", "x", "[127.0.0.1]"])
_ESCAPES = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\t": "\\t", "\n": "\\n"}


@st.composite
def _in_json(draw: st.DrawFn, text: str) -> str:
    """A text as a JSON string, each character of which is plain, by its short escape, or by its code."""
    parts = []
    for character in text:
        short = _ESCAPES.get(character)
        code = "".join(f"\\u{unit:04x}" for unit in _utf16(character))
        plain = [character] if character >= " " and character not in '"\\' else []
        parts.append(
            draw(st.sampled_from([*plain, *plain, *([short] if short else []), code, code.replace("\\U", "\\u")]))
        )
    return f'"{"".join(parts)}"'


def _utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be")
    return [int.from_bytes(encoded[place : place + 2]) for place in range(0, len(encoded), 2)]


@given(st.data(), _LOCAL, _DOMAINS)
def test_address_is_found_however_json_writes_it(data: st.DataObject, local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    written = data.draw(
        st.sampled_from([address, address.upper(), f" {address} ", unicodedata.normalize("NFD", address)])
    )
    payload = f'{{"email": {data.draw(_in_json(written))}}}'.encode()
    if unicodedata.normalize("NFC", written.strip().lower()) != unicodedata.normalize("NFC", address.strip().lower()):
        return  # no spelling of it: capitals of some letters are two letters
    assert is_found(payload, address)


@pytest.mark.parametrize("local", ["ada", "a/b", "o'brien", "a&b", "a+b", "a=b", "a?b", "{a}", "k", "a.b-c_d"])
@pytest.mark.parametrize(
    "text", ["{}", "Write to {}.", "<{}>", "'{}'", '"{}"', "mailto:{}?subject=x", "(cc {}, Bob)", "{};b@x.example"]
)
def test_address_is_found_within_a_text(local: str, text: str) -> None:
    address = f"{local}@example.com"
    assert is_found(orjson.dumps({"note": text.format(address)}), address)


@pytest.mark.parametrize("local", ["ada", "o'brien", "a+b", "a/b", "a=b", "a&b"])
def test_address_is_found_in_the_query_of_a_url(local: str) -> None:
    url = f"/?x=1&email={quote(f'{local}@example.com', safe='')}&utm=2"
    for landed in (url, url.lower()):
        assert is_found(orjson.dumps({"landing_site": landed}), f"{local}@example.com")


def is_found(payload: bytes, address: str) -> bool:
    signs = make_signs(address, None)
    person = make_person(7, (), (), address, None)
    return (signs is None or has_sign(payload, signs)) and find_mentions(orjson.loads(payload), 7).are_of(person)


def test_hashes_of_another_shop_do_not_match() -> None:
    assert not is_about("ada.byron@bücher.example", shop_id=8)


def test_word_is_found_within_a_text() -> None:
    assert is_about({"note_attributes": [{"value": "adas-wedding-x7"}]}, ("adas-wedding-x7",))
    assert not is_about({"value": "adas-wedding-x8"}, ("adas-wedding-x7",))


def test_spellings_are_what_may_be_stored() -> None:
    assert spellings(" Ada@Bücher.example") == {"ada@bücher.example", "ada@xn--bcher-kva.example"}
    assert spellings("ada@xn--bcher-kva.example") == spellings("ada@bücher.example")
    assert spellings("no address") == {"no address"}
    assert address_hash(7, "ada.byron@xn--bcher-kva.example") in PERSON.contacts


def test_person_without_contacts_matches_by_ids_alone() -> None:
    assert make_person(7, {1}, set(), None, "12").contacts == frozenset()


@pytest.mark.parametrize("text", ["x" * 400_000, "1 " * 200_000, "1" + " " * 400_000, "a@" * 200_000, "@" * 400_000])
def test_hostile_text_takes_no_longer_than_it_is_long(text: str) -> None:
    assert not is_about(text)  # in quadratic time it would take longer than a test may
