"""Headers and signatures of webhooks, beside Shopify's own verification."""

import base64
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shopify_app import ShopifyApp

from wishcraft.shopify.webhooks import HeadersInvalid, digest_of, is_signed, parse_headers, shopify_headers

SECRET = "hush"
NEEDED = {b"topic": b"orders/create", b"shop-domain": b"a.myshopify.com", b"webhook-id": b"b54557e4-bdd9"}


def signature(body: bytes, secret: str = SECRET) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256"))


def headers(prefix: bytes = b"X-Shopify-", **changed: Any) -> dict[str, bytes]:
    values = NEEDED | {name.replace("_", "-").encode(): value for name, value in changed.items()}
    return shopify_headers([(prefix + name, value) for name, value in values.items() if value is not None])


@given(
    body=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    secret=st.sampled_from([SECRET, "other"]),
    prefix=st.sampled_from(["X-Shopify-", "shopify-"]),
)
def test_signature_is_valid_where_shopifys_own_package_says_so(body: str, secret: str, prefix: str) -> None:
    given_headers = {
        f"{prefix}Hmac-Sha256": signature(body.encode(), secret).decode(),
        f"{prefix}Shop-Domain": "a.myshopify.com",
    }
    request: Any = {"method": "POST", "url": "https://app.example/", "headers": given_headers, "body": body}
    oracle = ShopifyApp(client_id="id", client_secret=SECRET).verify_webhook_req(request)
    digest = digest_of(shopify_headers([(name.encode(), text.encode()) for name, text in given_headers.items()]))
    assert digest is not None
    assert is_signed(body.encode(), digest, [SECRET]) is oracle.ok is (secret == SECRET)


def test_either_secret_is_accepted_and_no_other() -> None:
    body = b'{"price": 1.0, "title": "\\u00e9"}'
    for secret in ("new", "old"):
        assert is_signed(body, base64.b64decode(signature(body, secret)), ["new", "old"])
    assert not is_signed(body, base64.b64decode(signature(body, "third")), ["new", "old"])
    assert not is_signed(body + b" ", base64.b64decode(signature(body, "new")), ["new", "old"])


@pytest.mark.parametrize("value", [None, b"", b"x", b"\xff" * 44, b"A" * 44, signature(b"") + b"=", b"A" * 100_000])
def test_malformed_signature_is_none(value: bytes | None) -> None:
    assert digest_of(headers(hmac_sha256=value)) is None


def test_two_different_signatures_are_none() -> None:
    twice = [(b"X-Shopify-Hmac-Sha256", signature(b"a")), (b"Shopify-Hmac-Sha256", signature(b"b"))]
    assert digest_of(shopify_headers(twice)) is None
    assert digest_of(shopify_headers([twice[0], (b"shopify-hmac-sha256", twice[0][1])])) is not None


@pytest.mark.parametrize("prefix", [b"X-Shopify-", b"x-shopify-", b"Shopify-", b"SHOPIFY-"])
def test_headers_have_two_spellings_in_any_case(prefix: bytes) -> None:
    parsed = parse_headers(
        headers(
            prefix,
            shop_domain=b"A.MyShopify.com",
            event_id=b"e",
            api_version=b"2026-10",
            triggered_at=b"2026-03-29T18:00:27.877041743Z",
        )
    )
    assert parsed == (
        "a.myshopify.com", "orders/create", "b54557e4-bdd9", "e",
        datetime(2026, 3, 29, 18, 0, 27, 877041, UTC), "2026-10",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["topic", "shop_domain", "webhook_id", "event_id", "api_version"])
@pytest.mark.parametrize("value", [b"", b"a\0b", b"\xc3\xa9", b"a b", b"x" * 10_000])
def test_malformed_header_is_refused(name: str, value: bytes) -> None:
    with pytest.raises(HeadersInvalid, match=f"(?i){name.replace('_', '-')}"):
        parse_headers(headers(**{name: value}))


@pytest.mark.parametrize("name", ["topic", "shop_domain", "webhook_id"])
def test_missing_header_is_refused(name: str) -> None:
    changed: dict[str, Any] = {name: None}
    with pytest.raises(HeadersInvalid, match="missing"):
        parse_headers(headers(**changed))


@pytest.mark.parametrize("domain", [b"a.example.com", b".myshopify.com", b"a.myshopify.com.evil.example", b"a/b"])
def test_domain_that_is_no_shops_is_refused(domain: bytes) -> None:
    with pytest.raises(HeadersInvalid):
        parse_headers(headers(shop_domain=domain))


@pytest.mark.parametrize(
    "time", [b"", b"soon", b"2026-03-29T18:00:27", b"0001-01-01T00:00:00+14:00", b"\xff", b"9" * 999]
)
def test_malformed_time_is_none(time: bytes) -> None:
    assert parse_headers(headers(triggered_at=time)).triggered_at is None
