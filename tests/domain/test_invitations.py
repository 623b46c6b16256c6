import base64

import pytest

from wishcraft.domain.addresses import mailbox_hash
from wishcraft.domain.invitations import Addressee, Limits, derive_key, is_token, make_token, within_limits

KEY = derive_key("a secret")


def test_token_of_an_invitation_is_the_same_each_time_and_of_no_other() -> None:
    assert make_token(7, KEY) == make_token(7, derive_key("a secret"))
    assert len({make_token(7, KEY), make_token(8, KEY), make_token(7, derive_key("another"))}) == 3
    assert is_token(make_token(7, KEY))


@pytest.mark.parametrize("wrong", ["", "x", "A" * 48, make_token(7, KEY)[:-1], make_token(7, KEY) + "A", "ä" * 48])
def test_made_up_token_is_no_token(wrong: str) -> None:
    assert not is_token(wrong)


def test_each_changed_character_of_a_token_is_noticed() -> None:
    token = make_token(7, KEY)
    for at, character in enumerate(token):
        changed = token[:at] + ("A" if character != "A" else "B") + token[at + 1 :]
        assert base64.urlsafe_b64decode(changed) != base64.urlsafe_b64decode(token)
        assert not is_token(changed)


def waiting(*addressees: tuple[int, str]) -> list[tuple[int, Addressee]]:
    return [(number, addressee(*each)) for number, each in enumerate(addressees)]


def addressee(customer: int, address: str) -> Addressee:
    return Addressee(customer, mailbox_hash(1, address))


def test_invitations_within_all_limits_are_sent() -> None:
    three = waiting((1, "a@x.example"), (1, "b@x.example"), (2, "a@x.example"))
    assert within_limits(three, [], Limits(3, 2, 2)) == [0, 2, 1]
    assert within_limits(three[::-1], [], Limits(3, 2, 2)) == [2, 1, 0]  # in their order, not that of their ids


@pytest.mark.parametrize(
    ("limits", "chosen"), [(Limits(2, 9, 9), [0, 3]), (Limits(9, 1, 9), [0, 3]), (Limits(9, 9, 1), [0, 3, 1])]
)
def test_each_limit_holds_back_the_invitations_over_it(limits: Limits, chosen: list[int]) -> None:
    four = waiting((1, "a@x.example"), (1, "b@x.example"), (1, "a@x.example"), (2, "c@x.example"))
    assert within_limits(four, [], limits) == chosen


def test_recent_invitations_count() -> None:
    recent = [addressee(1, "b@x.example")]
    assert within_limits(waiting((1, "a@x.example")), recent, Limits(9, 1, 9)) == []
    assert within_limits(waiting((2, "b@x.example")), recent, Limits(9, 9, 1)) == []
    assert within_limits(waiting((2, "a@x.example")), recent, Limits(1, 9, 9)) == []


def test_a_tag_makes_no_other_mailbox() -> None:
    two = waiting((1, "a+1@x.example"), (1, "a+2@x.example"))
    assert within_limits(two, [], Limits(9, 9, 1)) == [0]


def test_customers_take_turns_so_that_none_uses_up_the_limit_of_an_address() -> None:
    flood = waiting((2, "a@x.example"), (2, "a@x.example"), (2, "a@x.example"), (1, "a@x.example"))
    assert within_limits(flood, [], Limits(9, 9, 3)) == [0, 3, 1]
    recent = [addressee(2, "b@x.example")]
    assert within_limits(flood, recent, Limits(3, 9, 3)) == [3, 0]
