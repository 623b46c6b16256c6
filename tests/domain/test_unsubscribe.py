"""The signed tokens of unsubscribe links."""

import pytest

from wishcraft.domain.addresses import address_hash
from wishcraft.domain.signing import derive_keys
from wishcraft.domain.unsubscribe import PURPOSE, Subscription, make_token, read_token

KEYS = derive_keys(["new", "old"], PURPOSE)
SUBSCRIPTION = Subscription(7, address_hash(7, "emma@example.com"))


def test_a_link_is_verified_with_the_key_that_signed_it_after_a_rotation() -> None:
    for key in KEYS:
        assert read_token(make_token(SUBSCRIPTION, key), KEYS) == SUBSCRIPTION
    assert read_token(make_token(SUBSCRIPTION, KEYS[1]), KEYS[:1]) is None


def test_a_link_does_not_contain_the_address() -> None:
    assert "emma" not in make_token(SUBSCRIPTION, KEYS[0]).lower()


@pytest.mark.parametrize("at", range(0, 96, 5))
def test_a_modified_link_is_refused(at: int) -> None:
    token = make_token(SUBSCRIPTION, KEYS[0])
    other = "B" if token[at] == "A" else "A"
    assert read_token(token[:at] + other + token[at + 1 :], KEYS) is None


@pytest.mark.parametrize("token", ["", "x", "=" * 96, "é" * 96, "A" * 97, "A" * 96])
def test_a_malformed_link_is_refused(token: str) -> None:
    assert read_token(token, KEYS) is None
