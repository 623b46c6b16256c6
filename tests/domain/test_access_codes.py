from datetime import date

import pytest

from wishcraft.domain.access_codes import MANY_WRONG_CODES, WRONG_CODES, find_weakness, slowdown

NAMES, DAY = ("Emma & Hugo's Wedding", "emma-hugos-wedding-dsecjaa66f"), date(2027, 6, 12)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("aaaaaaaa", "fewer than 4 different"), ("abababab", "fewer than 4 different"), ("--------", "fewer than 4"),
        ("1212 1212", "fewer than 4 different"), ("\u00e4a\u00c4A\u00e0a\u00e1a", "fewer than 4 different"),
        ("abcdabcd", "repeats itself"), ("Emma-emma", "fewer than 4"), ("tulip Tulip TULIP", "repeats itself"),
        ("12345678", "a sequence"), ("87654321", "a sequence"), ("abcdefgh", "a sequence"), ("ABCD-1234", "a sequence"),
        ("qwertyui", "a sequence"), ("1111222233334444", "a sequence"), ("90123456", "a sequence"),
        ("zyxwvuts", "a sequence"), ("1234qwer", "a sequence"), ("asdfghjk", "a sequence"),
        ("password", "tried first"), ("Password123", "tried first"), ("Wedding 2027", "tried first"),
        ("2027-wedding", "tried first"), ("open sesame", "tried first"), ("i love you!", "tried first"),
        ("Emma & Hugo's Wedding", "title or address"), ("emma hugo", "title or address"),
        ("EMMAHUGOS", "title or address"), ("emma-hugos-wedding-dsecjaa66f", "title or address"),
        ("dsecjaa66f", "title or address"), ("emma2027", "title or address"), ("2027Hugos", "title or address"),
        ("12062027", "the date"), ("06/12/2027", "the date"), ("2027-06-12", "the date"),
    ],
)  # fmt: skip
def test_an_access_code_that_is_easy_to_guess_is_weak(code: str, reason: str) -> None:
    found = find_weakness(code, NAMES, DAY)
    assert found is not None
    assert reason in found
    assert "three words" in found


@pytest.mark.parametrize(
    "code",
    ["tulip-canoe-amber", "very-secret", "another-code", "k7w2m9q4", "47110815", "emma likes tulips", "hugo's canoe 12",
     "\u96ea\u306e\u65e5\u306e\u8d08\u308a\u7269\u3060", "abcdrtkw", "13062027"],
)  # fmt: skip
def test_other_access_codes_are_accepted(code: str) -> None:
    assert find_weakness(code, NAMES, DAY) is None
    assert find_weakness(code) is None


def test_the_slowdown_grows_with_the_wrong_codes_up_to_a_limit() -> None:
    many = MANY_WRONG_CODES
    found = [slowdown(wrong) for wrong in (0, many - 1, many, 2 * many, 4 * many, 8 * many, WRONG_CODES.quota)]
    assert [each and each.wait.seconds for each in found] == [None, None, 15, 30, 60, 120, 240]
    assert [each and each.pause_seconds for each in found] == [None, None, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert {each.wait.quota for each in found if each} == {1}
