"""The app's page in the admin: who may frame it, and which scripts run."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest
from shopify_app.verify.app_home_req import verify_app_home_req

from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET, Simulator
from tests.support.api import SHOP


async def test_only_the_shops_admin_may_frame_the_page_as_shopifys_package_says(
    client: httpx.AsyncClient, simulator: Simulator
) -> None:
    id_token = simulator.credentials.id_token(SHOP, API_KEY, API_SECRET)
    request: Any = {"method": "GET", "url": f"https://app.example/app?id_token={id_token}", "headers": {}, "body": ""}
    theirs = verify_app_home_req(request, {"client_id": API_KEY, "client_secret": API_SECRET}, "/patch")  # type: ignore[typeddict-item]
    expected = theirs.response.headers["Content-Security-Policy"]
    answer = await client.get(f"/app?shop={SHOP}&embedded=1&host=x&id_token={id_token}")
    assert answer.status_code == 200
    assert expected.removesuffix(";") in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    assert id_token not in answer.text


@pytest.mark.parametrize("shop", ["", "evil.example", f"{SHOP} https://evil.example", f"{SHOP};", "https://" + SHOP])
async def test_the_page_of_no_shop_can_be_framed_by_no_page(client: httpx.AsyncClient, shop: str) -> None:
    answer = await client.get("/app", params={"shop": shop})
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "app-bridge" not in answer.text
    assert "evil" not in answer.text + answer.headers["content-security-policy"]


async def test_the_page_runs_its_own_script_and_app_bridge_only(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/app?shop={SHOP}")
    [script] = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' https://cdn.shopify.com;" in answer.headers["content-security-policy"]
    assert f'<meta name="shopify-api-key" content="{API_KEY}">' in answer.text
    # App Bridge must be the first script of the page, and come from Shopify.
    assert re.findall(r"<script[^>]*>", answer.text)[0] == (
        '<script src="https://cdn.shopify.com/shopifycloud/app-bridge.js">'
    )
