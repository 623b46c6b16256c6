from fnmatch import fnmatchcase

import pytest

from wishcraft.cache import keys


def test_all_keys_of_a_shop_share_its_hash_tag() -> None:
    names = (keys.entry_key(7, "smith"), keys.of_shop(7).lease_prefix + "smith", keys.of_shop(7).floors)
    assert all("{7}" in name for name in names)
    assert len(set(names)) == 3


def test_same_slug_in_two_shops_has_two_keys() -> None:
    assert keys.entry_key(1, "smith") != keys.entry_key(11, "smith")


def test_floor_outlives_its_writer_and_every_lease_on_an_older_load() -> None:
    assert keys.FLOOR_TTL_MS > 1000 * keys.HOLD_SECONDS + keys.LEASE_TTL_MS


def test_hold_outlasts_every_lease_that_a_failover_carried_over_from_an_older_era() -> None:
    assert 1000 * keys.HOLD_SECONDS > keys.LEASE_TTL_MS


def test_hold_outlasts_every_writer_of_an_older_era() -> None:
    assert keys.HOLD_SECONDS > keys.WRITE_LIMIT_SECONDS


@pytest.mark.parametrize(("fraction", "ttl_ms"), [(0.0, 1000), (0.5, 900), (1.0, 800)])
def test_spread_shortens_a_ttl_by_a_fifth_at_most(
    fraction: float, ttl_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wishcraft.cache.keys.random.random", lambda: fraction)
    assert keys.spread(1000) == ttl_ms


@pytest.mark.parametrize(
    ("key", "without_ttl"),
    [
        (keys.of_shop(7).floors, True),
        (keys.of_shop(7).written, True),
        (keys.ERA, True),
        (keys.entry_key(7, "a"), False),
        (keys.of_shop(7).lease_prefix + "a", False),
    ],
)
def test_only_floors_and_the_era_have_no_ttl(key: str, without_ttl: bool) -> None:
    assert any(fnmatchcase(key, pattern) for pattern in keys.WITHOUT_TTL) is without_ttl


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (keys.entry_key(7, "session"), "entry"),
        (keys.of_shop(7).lease_prefix + "a", "lease"),
        (keys.of_shop(7).floors, "marks"),
        (keys.of_shop(7).index, "index"),
        (keys.of_shop(7).sizes, "sizes"),
        (keys.of_shop(7).usage, "usage"),
        (keys.of_shop(7).variant_prefix + "5", "product"),
        (keys.of_shop(7).variant_index, "products"),
        (keys.of_shop(7).variant_sizes, "product-sizes"),
        (keys.session_key(keys.SessionName(7, "a:b")), "session"),
        (keys.limit_key("visitor", 60, "guest:7:::1"), "limit"),
        (keys.COUNTERS, "counters"),
        (keys.once_key("cancelled:1"), "once"),
        (keys.ERA, "era"),
        ("entry", "other"),
        ("wishcraft:{7}:something", "other"),
        ("prefect:{7}:entry", "other"),
    ],
)
def test_kind_of_a_key_is_read_from_its_name(key: str, kind: str) -> None:
    assert keys.kind_of(key.encode()) == kind
    assert kind in keys.KINDS | {"other"}
