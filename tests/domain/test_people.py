"""By what a value is known to be about a person."""

from typing import Any

import pytest

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
    ],
)  # fmt: skip
def test_sign_is_found_wherever_a_mention_can_be(payload: bytes, expected: bool) -> None:
    signs = make_signs("Ada.Byron@bücher.example", "+1 (555) 625-1199")
    assert signs is not None
    assert has_sign(payload, signs | {b"15"}) is expected


def test_other_letters_than_ascii_give_no_signs() -> None:
    assert make_signs("zoë@example.com", None) is None


def test_hashes_of_another_shop_do_not_match() -> None:
    assert not is_about("ada.byron@bücher.example", shop_id=8)


def test_word_is_found_within_a_text() -> None:
    assert is_about({"note_attributes": [{"value": "adas-wedding-x7"}]}, ("adas-wedding-x7",))
    assert not is_about({"value": "adas-wedding-x8"}, ("adas-wedding-x7",))


def test_spellings_are_what_may_be_stored() -> None:
    assert spellings(" Ada@Bücher.example") == {"ada@bücher.example", "ada@xn--bcher-kva.example"}
    assert spellings("no address") == {"no address"}
    assert address_hash(7, "ada.byron@xn--bcher-kva.example") in PERSON.contacts


def test_person_without_contacts_matches_by_ids_alone() -> None:
    assert make_person(7, {1}, set(), None, "12").contacts == frozenset()


@pytest.mark.parametrize(
    "text", ["x" * 4_000_000, "1 " * 2_000_000, "1" + " " * 4_000_000, "a@" * 2_000_000, "@" * 4_000_000]
)
def test_hostile_text_takes_no_longer_than_it_is_long(text: str) -> None:
    assert not is_about(text)  # in quadratic time it would take hours
