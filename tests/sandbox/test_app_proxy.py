"""The simulator's app proxy signs, strips and forwards as Shopify's does."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from shopify_app import ShopifyApp

from deployments.sandbox.shopify.app_proxy import MAX_ANSWER
from deployments.sandbox.shopify.simulator import API_SECRET
from deployments.sandbox.shopify.storefront import MAX_BODY
from tests.support.aliases import Demo
from tests.support.api import SHOP, WEDDING, public_slug
from tests.support.living_shop import living_shop
from wishcraft.shopify.signatures import verify_proxy_query

PATH = f"/{SHOP}/apps/registry"


class App:
    """An app that notes what it was asked, and gives this answer."""

    def __init__(self, answer: httpx.Response | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._reply = answer or httpx.Response(200, json={})
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._reply


@pytest.mark.parametrize(("cookie", "customer"), [("", None), ("customer_id=42", 42), ("customer_id=4x", None)])
async def test_query_is_signed_with_the_shop_and_the_customer(cookie: str, customer: int | None) -> None:
    app = App()
    async with living_shop(app.transport) as living:
        await living.http.get(
            f"{PATH}/registries?q=emma+%26+co&q=b&empty=&shop=other.myshopify.com&signature=0",
            headers={"Cookie": cookie},
        )
    [request] = app.requests
    assert request.url.path == "/api/registries"
    identity = verify_proxy_query(request.url.query, [API_SECRET], datetime.now(UTC))
    assert identity
    assert (identity.shop, identity.customer_id) == (SHOP, customer)
    asked: Any = {"method": "GET", "url": str(request.url), "headers": {}, "body": ""}
    assert ShopifyApp(client_id="id", client_secret=API_SECRET).verify_app_proxy_req(asked).ok
    assert request.url.params.get_list("q") == ["emma & co", "b"]
    assert request.url.params.get_list("shop") == [SHOP]


async def test_cookies_and_headers_of_one_hop_are_not_passed_on_either_way() -> None:
    answer = httpx.Response(
        302,
        headers=[
            ("Set-Cookie", "a=1"),
            ("Location", "/elsewhere"),
            ("ETag", '"7"'),
            ("Connection", "X-Own"),
            ("X-Own", "1"),
        ],
        content=b"moved",
    )
    app = App(answer)
    sent = {
        "Cookie": "session=1",
        "X-Forwarded-For": "192.0.2.1",
        "Connection": "X-Mine",
        "X-Mine": "1",
        "X-Name": "Chlo\u00e9",
        "If-None-Match": '"7"',
    }
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    async with living_shop(app.transport) as living:
        back = await living.http.post(f"{PATH}/a%2Fb/c", headers=encoded, content=b"{}")
    [request] = app.requests
    assert request.headers["x-forwarded-for"] == "192.0.2.1, 203.0.113.9"
    assert (request.headers["if-none-match"], request.headers["x-name"]) == ('"7"', "Chlo\u00e9")
    assert not {"cookie", "x-mine"} & request.headers.keys()
    assert (request.url.raw_path.split(b"?")[0], request.content) == (b"/api/a%2Fb/c", b"{}")
    assert (back.status_code, back.content) == (302, b"moved")  # a redirect is the browser's
    assert (back.headers["location"], back.headers["etag"]) == ("/elsewhere", '"7"')
    assert not {"set-cookie", "x-own"} & back.headers.keys()


async def test_too_large_requests_and_answers_and_paths_that_lead_out_are_refused() -> None:
    app = App(httpx.Response(200, content=bytes(MAX_ANSWER + 1)))
    async with living_shop(app.transport) as living:
        assert (await living.http.post(f"{PATH}/a", content=bytes(MAX_BODY + 1))).status_code == 413
        assert (await living.http.get(f"{PATH}/%2e%2e/metrics")).status_code == 502
        assert app.requests == []
        assert (await living.http.get(f"{PATH}/a")).status_code == 502
        assert (await living.http.get("/other.myshopify.com/apps/registry/a")).status_code == 404
    async with living_shop(None) as living:
        assert (await living.http.get(f"{PATH}/a")).status_code == 502


@pytest.mark.usefixtures("generous_limits")
async def test_guest_reads_and_customer_writes_through_the_proxy(client: httpx.AsyncClient, demo: Demo) -> None:
    slug = public_slug(demo)
    async with living_shop(client._transport) as living:
        read = await living.http.get(f"{PATH}/registries/{slug}")
        assert (read.status_code, read.json()["slug"]) == (200, slug)
        assert (await living.http.post(f"{PATH}/registries", json=WEDDING)).status_code in {401, 403}
        mine = {"Cookie": "customer_id=7100000000001"}
        assert (await living.http.post(f"{PATH}/registries", json=WEDDING, headers=mine)).status_code == 201


async def test_links_and_the_form_of_a_registry_lead_to_a_page_with_the_themes_parameters() -> None:
    async with living_shop(App().transport) as living:
        product = await living.http.get("/products/blanket?variant=5&_registry_item=%3Cb%3E")
        cart = await living.http.post("/cart/add", data={"id": "5", "properties[_registry_item]": "abc"})
    assert product.status_code == cart.status_code == 200
    assert "<dt>variant</dt><dd>5</dd>" in product.text
    assert "&lt;b&gt;" in product.text
    assert "<dt>properties[_registry_item]</dt><dd>abc</dd>" in cart.text
