from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.shopify.signatures import ProxyIdentity, canonical, sign, verify_proxy_query

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRETS = ("current", "previous")


def signed(parameters: list[tuple[str, str]], secret: str = SECRETS[0]) -> str:
    return urlencode([*parameters, ("signature", sign(canonical(parameters), secret))])


def genuine(
    customer: str = "42", at: datetime = NOW, shop: str = "maple-and-pine.myshopify.com"
) -> list[tuple[str, str]]:
    """What Shopify sends, in its order."""
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
    assert identity is not None
    assert identity.signed_at == signed_at


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


@pytest.mark.parametrize(("minutes", "accepted"), [(-5.1, False), (-5, True), (0, True), (5, True), (5.1, False)])
def test_timestamp_outside_the_tolerance_is_refused(minutes: float, accepted: bool) -> None:
    query = signed(genuine())
    assert bool(verify_proxy_query(query, SECRETS, NOW + timedelta(minutes=minutes))) is accepted


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
        signed(genuine()[:3]),
        signed([*genuine()[:3], ("timestamp", "9" * 18)]),
        signed([*genuine(), *((f"k{n}", "") for n in range(200))]),
    ],
)
def test_unsigned_or_malformed_query_is_refused(query: bytes | str) -> None:
    assert verify_proxy_query(query, SECRETS, NOW) is None


def test_signed_message_cannot_be_split_into_another_customers_request() -> None:
    visited = [("a", "1logged_in_customer_id=42m"), *genuine(customer="")]
    signature = sign(canonical(visited), "current")
    shop, customer, *rest = genuine(customer="42")
    forged = [("a", "1"), shop, customer, ("mlogged_in_customer_id", ""), *rest]
    assert sign(canonical(forged), "current") == signature  # the signature alone cannot distinguish them
    assert verify_proxy_query(urlencode([*forged, ("signature", signature)]), SECRETS, NOW) is None


@given(st.binary(max_size=200))
def test_arbitrary_query_strings_never_raise(query: bytes) -> None:
    assert verify_proxy_query(query, SECRETS, NOW) is None
