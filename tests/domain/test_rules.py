from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.domain.api_keys import digest, make_key, prefix_of
from wishcraft.domain.batches import batches
from wishcraft.domain.cached_registry import AccessLevel, access_level
from wishcraft.domain.registries import RegistryStatus, Visibility
from wishcraft.domain.tokens import OfflineToken
from wishcraft.domain.work_results import WorkResult, summary_sentence, total_counts

GOOD = WorkResult("a.myshopify.com", {"registries": 1200, "warmed": 3}, 1.5)
BAD = WorkResult("b.myshopify.com", {}, 0.5, "ShopifyUnavailable: 503")


@pytest.mark.parametrize(
    ("visibility", "status", "expected"),
    [
        (Visibility.PUBLIC, RegistryStatus.ACTIVE, AccessLevel.OPEN),
        (Visibility.UNLISTED, RegistryStatus.COMPLETED, AccessLevel.OPEN),
        (Visibility.PASSWORD, RegistryStatus.ACTIVE, AccessLevel.CODE),
        (Visibility.PRIVATE, RegistryStatus.ACTIVE, AccessLevel.OWNER),
        (Visibility.PUBLIC, RegistryStatus.PAUSED, AccessLevel.OWNER),
        (Visibility.PASSWORD, RegistryStatus.ARCHIVED, AccessLevel.OWNER),
    ],
)
def test_access_level_follows_from_visibility_and_status(
    visibility: Visibility, status: RegistryStatus, expected: AccessLevel
) -> None:
    assert access_level(visibility, status) is expected


def test_a_new_key_is_found_by_its_prefix_and_verified_by_its_digest() -> None:
    new = make_key(bytes(range(38)))
    assert new.key == f"wc_{bytes(range(6)).hex()}_{bytes(range(6, 38)).hex()}3b7c0b86"
    assert prefix_of(new.key) == new.prefix
    assert digest(new.key) == new.digest


@pytest.mark.parametrize(
    "key",
    [
        *("", "wc_", "wc_123_456", "x" * 10_000, f"no key{crc32(b'no key'):08x}"),
        *(f"wc_{'0' * 12}_{secret}" for secret in ("g" * 72, "0" * 64)),
    ],
)
def test_a_malformed_key_has_no_prefix(key: str) -> None:
    assert prefix_of(key) is None


@given(st.binary(min_size=38, max_size=38), st.data())
def test_a_key_with_another_character_has_no_prefix(random: bytes, data: st.DataObject) -> None:
    key = make_key(random).key
    place = data.draw(st.integers(3, len(key) - 1).filter(lambda place: key[place] != "_"))
    other = data.draw(st.sampled_from("0123456789abcdef").filter(lambda digit: digit != key[place]))
    assert prefix_of(key)
    assert prefix_of(f"{key[:place]}{other}{key[place + 1 :]}") is None


def test_a_token_that_expires_within_five_minutes_needs_a_refresh() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert OfflineToken("a", "r", now + timedelta(minutes=4)).needs_refresh(now)
    assert not OfflineToken("a", "r", now + timedelta(minutes=6)).needs_refresh(now)
    assert not OfflineToken("a").needs_refresh(now)


def test_a_tokens_repr_shows_no_secret() -> None:
    assert "s3cret" not in repr(OfflineToken("s3cret", "s3cret"))


def test_batches_keep_the_order_and_all_values() -> None:
    assert [list(batch) for batch in batches(range(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_runs_sentence_counts_and_names_what_failed() -> None:
    assert summary_sentence([GOOD, BAD]) == (
        "2 shops: 1,200 registries, 3 warmed. Failed: b.myshopify.com (ShopifyUnavailable: 503)."
    )
    assert summary_sentence([]) == "0 shops: nothing to do."


def test_a_runs_counts_are_summed_and_its_items_have_a_noun() -> None:
    assert summary_sentence([GOOD], noun="table").startswith("1 table: ")
    assert total_counts([GOOD, GOOD, BAD]) == {"registries": 2400, "warmed": 6}
