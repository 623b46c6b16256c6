from datetime import UTC, datetime, timedelta

import pytest

from wishcraft.domain.cached_registry import HALF_LIFE_OF_VIEWS, AccessLevel, view_weight
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.etags import allows_change, make_etag, matches
from wishcraft.domain.registries import MAX_SLUG_LENGTH, SLUG, EventType, is_registry_ref, make_slug

DIGEST = "0123456789abcdef"


@pytest.mark.parametrize(
    ("if_match", "allows"),
    [
        (make_etag(7, DIGEST), True),
        (f"W/{make_etag(7, DIGEST)}", False),
        (f"W/{make_etag(7, DIGEST)}, {make_etag(6, DIGEST)}", False),
        (f'W/"a", , "b",{make_etag(7, DIGEST)} ', True),
        (f"garbage {make_etag(7, DIGEST)}", False),
        (f"{make_etag(7, DIGEST)} garbage", False),
        (f"{make_etag(7, DIGEST)}, *", False),
        (f'"a {make_etag(7, DIGEST)}', False),
        (f'"a", "b{make_etag(7, DIGEST)[1:]}', False),
        (make_etag(7, DIGEST)[1:], False),
        ("**", False),
        (f"{make_etag(6, DIGEST)}, {make_etag(7, 'f' * 16)}", True),
        (" * ", True),
        (make_etag(6, DIGEST), False),
        (make_etag(77, DIGEST), False),
        ("7", False),
        ('"7"', False),
        ("", False),
    ],
)
def test_if_match_allows_a_change_of_the_current_version_only(if_match: str, allows: bool) -> None:
    assert allows_change(if_match, 7) is allows


@pytest.mark.parametrize(
    ("if_none_match", "matching"),
    [
        (make_etag(7, DIGEST), True),
        (f"W/{make_etag(7, DIGEST)}", True),
        (f'"a", {make_etag(7, DIGEST)}', True),
        ("*", True),
        (" * ", True),
        ('"*"', False),
        (make_etag(6, DIGEST), False),
        ("", False),
    ],
)
def test_if_none_match_compares_weakly_and_a_star_matches_any(if_none_match: str, matching: bool) -> None:
    assert matches(if_none_match, make_etag(7, DIGEST)) is matching


@pytest.mark.parametrize(
    ("title", "begins"),
    [
        ("Emma & Hugo's Wedding", "emma-hugos-wedding-"),
        ("Zoë  —  Élan!", "zoe-elan-"),
        ("Øystein & Łukasz Straße", "oystein-lukasz-strasse-"),
        ("Hugo\u2019s Æon", "hugos-aeon-"),
        ("さくらと健", "wedding-"),
        ("2027", "2027-"),
        ("-" * 50, "wedding-"),
        ("x" * 500, "x" * 60 + "-"),
    ],
)
def test_a_slug_contains_the_titles_words_and_is_valid(title: str, begins: str) -> None:
    slug = make_slug(title, EventType.WEDDING, bytes(range(10)))
    assert slug.startswith(begins)
    assert SLUG.fullmatch(slug)
    assert make_slug(title, EventType.WEDDING, bytes(range(1, 11))) != slug


@pytest.mark.parametrize("text", ["123", "1", "", "-a", "a-", "a--b", "A", "é", "a b", "a\n"])
def test_an_invalid_slug_does_not_match(text: str) -> None:
    assert not SLUG.fullmatch(text)


@pytest.mark.parametrize("ref", ["1", "100000001", "a", "emma-2", "x" * MAX_SLUG_LENGTH])
def test_ids_and_slugs_are_registry_refs(ref: str) -> None:
    assert is_registry_ref(ref)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "\N{FULLWIDTH DIGIT ONE}2",
        "²",
        "-1",
        "1\n",
        "A",
        "a b",
        "x" * (MAX_SLUG_LENGTH + 1),
    ],
)
def test_other_texts_and_digits_outside_ascii_are_no_registry_refs(ref: str) -> None:
    assert not is_registry_ref(ref)


def test_a_guest_and_a_registrant_can_read_their_access_levels() -> None:
    guest, owner = Caller(1, "guest"), Caller(1, "customer", 42)
    assert [access_level for access_level in AccessLevel if guest.can_read(access_level, 42)] == [AccessLevel.OPEN]
    assert [access_level for access_level in AccessLevel if owner.can_read(access_level, 42)] == [
        AccessLevel.OPEN,
        AccessLevel.CODE,
        AccessLevel.OWNER,
    ]
    assert [access_level for access_level in AccessLevel if owner.can_read(access_level, 43)] == [AccessLevel.OPEN]
    assert not guest.owns(0)
    assert not guest.owns(None)
    assert guest.scopes == {Scope.READ}


def test_a_views_weight_doubles_with_each_half_life() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert view_weight(now + HALF_LIFE_OF_VIEWS) == pytest.approx(2 * view_weight(now))
    assert view_weight(now + timedelta(days=365 * 15)) < float("inf")
