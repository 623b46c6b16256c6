import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.shopify.signatures import MAX_CHANGE_AGE, ProxyIdentity, canonical, parse_query, sign, verify_proxy_query

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRETS = ("current", "previous")
SHOPIFYS = ("logged_in_customer_id", "path_prefix", "shop", "timestamp", "signature")


def signed(parameters: list[tuple[str, str]], secret: str = SECRETS[0]) -> str:
    return urlencode([*parameters, ("signature", sign(canonical(parameters), secret))])


def genuine(
    customer: str = "42", at: datetime = NOW, shop: str = "maple-and-pine.myshopify.com"
) -> list[tuple[str, str]]:
    """The fields that Shopify sends, in its order."""
    stamp = str(int(at.timestamp()))
    return [("shop", shop), ("logged_in_customer_id", customer), ("path_prefix", "/apps/gifts"), ("timestamp", stamp)]


@pytest.mark.parametrize(
    ("parameters", "signature"),
    [
        ("shop=shop-name.myshopify.com", "a9718877bea71c2484f91608a7eaea1532bdf71f5c56825065fa4ccabe549ef3"),
        (
            "shop=some-shop.myshopify.com&logged_in_customer_id=1",
            "5e2178f38200aed046f7944c03c410698b34595edb3968b0e3ab8d4db12f142f",
        ),
    ],
)
def test_known_vectors_are_signed_and_verified(parameters: str, signature: str) -> None:
    query = f"extra=1&extra=2&{parameters}&path_prefix=%2Fapps%2Fawesome_reviews&timestamp=1317327555"
    assert sign(canonical(parse_qsl(query)), "hush") == signature
    signed_at = datetime.fromtimestamp(1317327555, UTC)
    identity = verify_proxy_query(f"{query}&signature={signature}", ["hush"], signed_at)
    assert (identity is not None) is ("logged_in_customer_id" in parameters)


def test_signed_query_identifies_shop_and_customer() -> None:
    expected = ProxyIdentity("maple-and-pine.myshopify.com", 42, NOW)
    assert verify_proxy_query(signed(genuine()).encode(), SECRETS, NOW) == expected


def test_visitor_who_is_not_logged_in_has_no_customer_id() -> None:
    identity = verify_proxy_query(signed(genuine(customer="")), SECRETS, NOW)
    assert identity is not None
    assert identity.customer_id is None


@pytest.mark.parametrize("secret", SECRETS)
def test_both_secrets_are_accepted_during_a_rotation(secret: str) -> None:
    assert verify_proxy_query(signed(genuine(), secret), SECRETS, NOW)


def test_another_secret_is_refused() -> None:
    assert verify_proxy_query(signed(genuine(), "guessed"), SECRETS, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "read", "change"),
    [(-31, False, False), (-30, True, True), (0, True, True), (90, True, True), (91, True, False), (300, True, False),
     (301, False, False)],
)  # fmt: skip
def test_timestamp_that_is_too_old_or_in_the_future_is_refused(seconds: int, read: bool, change: bool) -> None:
    query, now = signed(genuine()), NOW + timedelta(seconds=seconds)
    assert bool(verify_proxy_query(query, SECRETS, now)) is read
    assert bool(verify_proxy_query(query, SECRETS, now, MAX_CHANGE_AGE)) is change


def test_order_and_percent_encoding_do_not_matter() -> None:
    parameters = [("q", "crème brûlée & co"), ("tag", "b"), ("tag", "a,c"), *genuine(), ("empty", "")]
    signature = ("signature", sign(canonical(parameters), "current"))
    query = urlencode([signature, *reversed(parameters[4:]), *parameters[:4]]).replace("+", "%20")
    assert verify_proxy_query(query, SECRETS, NOW)


def test_repeated_values_are_signed_in_their_order() -> None:
    query = signed([("tag", "a"), ("tag", "b"), *genuine()])
    assert verify_proxy_query(query, SECRETS, NOW)
    assert verify_proxy_query(query.replace("tag=a&tag=b", "tag=b&tag=a"), SECRETS, NOW) is None


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"shop=maple-and-pine.myshopify.com",
        b"%ff=%fe&signature=ab",
        "shop=x&signature=é".encode(),
        "shop=x&signature=\ud800",
        "shop=x&signature=é",
        signed(genuine()) + "&extra=1",
        signed(genuine()) + "&signature=00",
        signed(genuine()).replace("=42", "=43"),
        signed([*genuine(), ("shop", "lumiere-maison.myshopify.com")]),
        signed([*genuine(), ("logged_in_customer_id", "43")]),
        signed(genuine(shop="maple-and-pine.example.com")),
        signed(genuine(customer="forty-two")),
        signed(genuine(customer="0")),
        signed(genuine(customer="042")),
        signed(genuine()[:3]),
        signed([*genuine()[:3], ("timestamp", "9" * 18)]),
        signed([*genuine(), *((f"k{n}", "") for n in range(200))]),
    ],
)
def test_unsigned_or_malformed_query_is_refused(query: bytes | str) -> None:
    assert verify_proxy_query(query, SECRETS, NOW) is None


GUEST: Final = genuine(customer="")
STAMP: Final = GUEST[3][1]


@pytest.mark.parametrize(
    ("visited", "forged"),
    [
        (
            [("a", "1logged_in_customer_id=42m"), *GUEST],
            [("a", "1"), ("logged_in_customer_id", "42"), ("mlogged_in_customer_id", ""), *GUEST[:1], *GUEST[2:]],
        ),
        (
            [("a", "1logged_in_customer_id=42n="), *GUEST],
            [("a", "1"), ("logged_in_customer_id", "42"), ("n", "logged_in_customer_id="), *GUEST[:1], *GUEST[2:]],
        ),
        (
            [("a", "1logged_in_customer_id=42n="), *GUEST],
            [
                ("a", "1"),
                ("logged_in_customer_id", "42"),
                ("n", "l"),
                ("ogged_in_customer_id", ""),
                *GUEST[:1],
                *GUEST[2:],
            ],
        ),
        (
            [("a", "1logged_in_customer_id=42path_prefix=/x"), *GUEST],
            [
                ("a", "1"),
                ("logged_in_customer_id", "42"),
                ("path_prefix", "/xlogged_in_customer_id=path_prefix=/apps/gifts"),
                *GUEST[:1],
                *GUEST[3:],
            ],
        ),
        (
            [("q", "1shop=other.myshopify.comsi="), *GUEST],
            [("q", "1"), ("shop", "other.myshopify.com"), ("si", "shop=maple-and-pine.myshopify.com"), *GUEST[1:]],
        ),
        (
            [("t", f"1timestamp={STAMP}u="), *genuine("", NOW - timedelta(days=9))],
            [("t", "1"), ("timestamp", STAMP), ("u", f"timestamp={int(STAMP) - 9 * 86_400}"), *GUEST[:3]],
        ),
        (
            [("logged_in_customer_id=42n", ""), ("a", "1"), *GUEST],
            [("a", "1logged_in_customer_id="), ("logged_in_customer_id", "42"), ("n", ""), *GUEST[:1], *GUEST[2:]],
        ),
    ],
)
def test_message_recut_into_another_identity_is_refused_either_way(
    visited: list[tuple[str, str]], forged: list[tuple[str, str]]
) -> None:
    signature = sign(canonical(visited), "current")
    assert sign(canonical(forged), "current") == signature  # the signature alone cannot distinguish them
    for fields in (visited, forged):
        assert verify_proxy_query(urlencode([*fields, ("signature", signature)]), SECRETS, NOW) is None


@pytest.mark.parametrize("first", [("code", "abc"), ("embedded", "1")])
@pytest.mark.parametrize("seconds", [0, 5])
def test_signature_of_another_query_of_shopify_names_no_customer(first: tuple[str, str], seconds: int) -> None:
    """That of a query which ends an authorization, whose `state` the merchant of any shop chooses and sees signed."""
    stamp = str(int(STAMP) + seconds)
    proxied = ["logged_in_customer_id=42", "path_prefix=/x", "shop=other.myshopify.com", f"timestamp={stamp}"]
    given = [first, ("host", "YWRt"), ("shop", "own.myshopify.com"), ("state", f"1{''.join(proxied)}z=")]
    separated = "&".join(f"{name}={value}" for name, value in [*given, ("timestamp", STAMP)])
    forged = [
        (first[0], separated.partition("=")[2].partition(proxied[0])[0]),
        *((name, value) for name, _, value in (field.partition("=") for field in proxied)),
        ("z", f"&timestamp={STAMP}"),
    ]
    assert canonical(forged) == separated
    query = urlencode([*forged, ("signature", sign(separated, "current"))])
    assert verify_proxy_query(query, SECRETS, NOW) is None


@pytest.mark.parametrize(
    "field",
    [
        ("bookshop", "x"),
        ("utm_timestamp", "1"),
        ("utm_timestamp", "1764500000"),
        ("timestamps", "1764500000"),
        ("q", "workshop=1"),
        ("q", "shop=1"),
        ("bookshop", "another.myshopify.com"),
        ("x", "timestamp=1"),
        ("t", "timestamp=1764500000"),
        ("a_logged_in_customer_id", "7"),
        ("a", "logged_in_customer_id=7"),
        ("not_logged_in_customer_id", "7"),
        ("my_path_prefix", "/x"),
        ("return_to", "/x?shop=1&timestamp=2&path_prefix=3"),
        ("a=b", "c=d"),
        ("url", "/pages/gift?timestamp=1700000000"),
        ("u", "timestamp=" + "9" * 5_000),
        ("u", "logged_in_customer_id=" + "9" * 5_000),
    ],
)
@pytest.mark.parametrize("customer", ["", "42"])
def test_parameter_that_resembles_one_of_shopifys_is_accepted(field: tuple[str, str], customer: str) -> None:
    identity = verify_proxy_query(signed([field, *genuine(customer)]), SECRETS, NOW)
    assert identity == ProxyIdentity("maple-and-pine.myshopify.com", int(customer) if customer else None, NOW)


@pytest.mark.parametrize("missing", range(4))
def test_each_of_shopifys_fields_is_required(missing: int) -> None:
    fields = genuine()
    del fields[missing]
    assert verify_proxy_query(signed(fields), SECRETS, NOW) is None


@given(st.data())
def test_no_split_of_a_guests_message_identifies_a_customer(data: st.DataObject) -> None:
    pieces = st.lists(
        st.sampled_from([
            "logged_in_customer_id", "=", "42", "path_prefix", "/apps/gifts", "shop", "other.myshopify.com",
            "timestamp",
            str(int(NOW.timestamp())), "a", "m", "n", "q", "si", "u", "z",
        ]),
        max_size=12,
    ).map("".join)  # fmt: skip
    own = data.draw(st.lists(st.tuples(pieces.filter(lambda key: key not in SHOPIFYS), pieces), min_size=1, max_size=3))
    visited = [*own, *genuine(customer="")]
    message = canonical(visited)
    cuts = [match.start() for match in re.finditer(r"logged|path|shop|timestamp|[amnquz]|ogged|istamp|si", message)]
    chosen = [0, *sorted(data.draw(st.sets(st.sampled_from(cuts or [0])))), len(message)]
    chunks = [message[start:end] for start, end in pairwise(chosen) if start < end]
    fields = [(key, value) for key, found, value in (chunk.partition("=") for chunk in chunks) if found]
    query = urlencode([*fields, ("signature", sign(message, "current"))])
    identity = verify_proxy_query(query, SECRETS, NOW)
    assert identity in {None, ProxyIdentity("maple-and-pine.myshopify.com", None, NOW)}


@given(st.binary(max_size=200))
def test_arbitrary_query_strings_never_raise(query: bytes) -> None:
    assert verify_proxy_query(query, SECRETS, NOW) is None


@given(st.text(st.sampled_from("ab=&%+2Ff;é#") | st.characters(max_codepoint=0x7F), max_size=40))
def test_query_is_parsed_as_the_standard_library_does(text: str) -> None:
    try:
        expected = parse_qs(text, keep_blank_values=True, errors="strict")
    except ValueError:
        with pytest.raises(UnicodeDecodeError):
            parse_query(text)
    else:
        assert parse_query(text) == expected
