"""Shopify's own package as a second opinion on signed queries; each difference is named and has its reason."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Final
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shopify_app.verify.app_proxy import verify_app_proxy_req

from wishcraft.shopify.signatures import MAX_CHANGE_AGE, canonical, sign, verify_proxy_query

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET, OLD_SECRET = "current", "previous"
FORMS: Final = {
    "logged_in_customer_id": r"([1-9][0-9]{0,17})?",
    "path_prefix": r"(?s)/.*",
    "shop": r"[a-z0-9][a-z0-9-]*\.myshopify\.com",
    "timestamp": r"[0-9]{1,18}",
}
MAX_FIELDS: Final = 100
Fields = Sequence[tuple[str, str]]


def by_keys(fields: Fields) -> str:
    """The signed message as the package makes it: sorted by keys, where Shopify's documentation sorts `key=value`."""
    values: dict[str, list[str]] = {}
    for key, value in fields:
        values.setdefault(key, []).append(value)
    return "".join(f"{key}={','.join(each)}" for key, each in sorted(values.items()))


def differences(fields: Fields, seconds: int) -> set[str]:
    """Why we may refuse what the package accepts, or the reverse, of a query that is this old."""
    message = canonical(fields)
    own = {name: [value for key, value in fields if key == name] for name in FORMS}
    tests = {
        "the order of keys of which one begins with the other": message != by_keys(fields),
        "a field of Shopify that is missing, repeated or no id, path, shop or time": any(
            len(own[name]) != 1 or not re.fullmatch(form, own[name][0]) for name, form in FORMS.items()
        ),
        "a message that could be split in another way": any(message.count(f"{name}=") != 1 for name in FORMS),
        "a time in the future": seconds < -30,
        "too many fields": len(fields) >= MAX_FIELDS,
    }
    return {name for name, differs in tests.items() if differs}


def query_of(fields: Fields, encode: Callable[[str], str] = quote_plus) -> str:
    return "&".join(f"{encode(key)}={encode(value)}" for key, value in fields)


def encode_all(text: str) -> str:
    """Every byte as `%xx`."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


ENCODINGS: Final[Sequence[Callable[[str], str]]] = (quote, quote_plus, encode_all)


def accepted(query: str, at: datetime) -> tuple[bool, bool]:
    """Whether we accept the query at this time, and whether the package does."""
    request = {"method": "GET", "headers": {}, "url": f"https://app.example/registries?{query}", "body": ""}
    config = {"client_id": "id", "client_secret": SECRET, "old_client_secret": OLD_SECRET}
    with mock.patch("shopify_app.verify.app_proxy.time", SimpleNamespace(time=at.timestamp)):
        theirs = verify_app_proxy_req(request, config).ok  # type: ignore[arg-type]  # plain dictionaries
    return verify_proxy_query(query, [SECRET, OLD_SECRET], at, MAX_CHANGE_AGE) is not None, theirs


KEYS: Final = st.sampled_from(["q", "tag", "tag[]", "tag2", "bookshop", "utm_timestamp", "a b", "é", "名", "=", ""])
VALUES: Final = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["", "1", "a,b", "shop=x", "timestamp=1", "logged_in_customer_id=42", "&x=1", "%", "+"]),
)


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, Fields, int]:
    """A query as it is sent, its fields without the signature, and its age in seconds."""
    seconds = draw(st.sampled_from([-91, -60, -30, 0, 1, 90, 91, 400]))
    genuine = [
        ("shop", draw(st.sampled_from(["maple-and-pine.myshopify.com", "maple.example", ""]))),
        ("logged_in_customer_id", draw(st.sampled_from(["", "42", "042", "x"]))),
        ("path_prefix", draw(st.sampled_from(["/apps/gifts", "apps"]))),
        ("timestamp", draw(st.sampled_from([str(int(NOW.timestamp())), "", "x", "1"]))),
    ]
    if draw(st.booleans()):  # as most are
        stamp = str(int(NOW.timestamp()))
        genuine = [("shop", "maple-and-pine.myshopify.com"), *genuine[1:2], ("path_prefix", "/a"), ("timestamp", stamp)]
    missing = draw(st.sampled_from([None, None, None, *FORMS]))
    repeated = draw(st.sampled_from([None, None, None, *FORMS]))
    fields = [field for field in genuine if field[0] != missing]
    fields += [field for field in genuine if field[0] == repeated]
    fields = draw(st.permutations([*draw(st.lists(st.tuples(KEYS, VALUES), max_size=4)), *fields]))
    message = draw(st.sampled_from([canonical, canonical, by_keys]))(fields)
    signature = sign(message, draw(st.sampled_from([SECRET, OLD_SECRET, "guessed"])))
    signatures = draw(
        st.sampled_from([[signature]] * 4 + [[], [""], [signature.upper()], [signature] * 2, [f"{signature} "]])
    )
    sent = list(fields)
    if draw(st.sampled_from([False, False, True])):  # changed on the way
        place = draw(st.integers(0, len(sent) - 1))
        sent[place] = draw(st.tuples(st.just(sent[place][0]), VALUES))
    whole = [*sent, *(("signature", each) for each in signatures)]
    encode = draw(st.sampled_from(ENCODINGS))
    return query_of(draw(st.permutations(whole)) if draw(st.booleans()) else whole, encode), sent, seconds


@given(queries())
@example((query_of([("shop", "x")]), [("shop", "x")], 0))
def test_we_and_shopifys_package_agree_but_for_the_named_differences(drawn: tuple[str, Fields, int]) -> None:
    query, fields, seconds = drawn
    ours, theirs = accepted(query, NOW + timedelta(seconds=seconds))
    if ours != theirs:
        assert differences(fields, seconds)
    if ours:
        assert theirs or differences(fields, seconds) == {"the order of keys of which one begins with the other"}


GENUINE: Final = [
    ("shop", "maple-and-pine.myshopify.com"), ("logged_in_customer_id", ""), ("path_prefix", "/apps/gifts"),
    ("timestamp", str(int(NOW.timestamp()))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "seconds", "ours", "theirs"),
    [
        (GENUINE, 0, True, True),
        ([("tag", "b"), ("tag", "a,c"), ("x[]", "1"), ("x[]", "2"), *GENUINE], 90, True, True),
        (GENUINE, 91, False, False),
        (GENUINE, -60, False, True),
        ([("tag2", "b"), ("tag", "a"), *GENUINE], 0, True, False),
        (GENUINE[:1] + GENUINE[2:], 0, False, True),
        ([*GENUINE, ("logged_in_customer_id", "42")], 0, False, True),
        ([*GENUINE[:1], ("logged_in_customer_id", "042"), *GENUINE[2:]], 0, False, True),
        ([("shop", "maple.example"), *GENUINE[1:]], 0, False, True),
        ([*GENUINE, ("shop", "maple-and-pine.myshopify.com")], 0, False, False),
        ([("a", "1logged_in_customer_id=42path_prefix=/x"), *GENUINE], 0, False, True),
        ([*GENUINE, *((f"k{number:03}", "") for number in range(MAX_FIELDS))], 0, False, True),
    ],
)  # fmt: skip
def test_each_difference_from_shopifys_package_is_one_of_those_named(
    fields: Fields, seconds: int, ours: bool, theirs: bool
) -> None:
    query = query_of([*fields, ("signature", sign(canonical(fields), SECRET))])
    assert accepted(query, NOW + timedelta(seconds=seconds)) == (ours, theirs)
    assert bool(differences(fields, seconds)) is (ours != theirs) or (ours, theirs) == (False, False)
