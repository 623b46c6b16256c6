"""Shopify's own package as a second opinion on ID tokens and on requests for tokens."""

import json
import time
from datetime import timedelta
from typing import Any, Final

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shopify_app.exchange.refresh_token import refresh_access_token_async
from shopify_app.exchange.token_exchange import token_exchange_async
from shopify_app.types import AppConfig, IdTokenDetails, TokenExchangeResult
from shopify_app.verify.app_home_req import verify_app_home_req

from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET
from tests.support.shopify_world import SHOP, World
from wishcraft.shopify.graphql_queries import READ_SHOP
from wishcraft.shopify.id_tokens import LEEWAY_SECONDS, verify_id_token

OLD_SECRET, OTHER_SECRET = "before the rotation" * 5, "of another app" * 5
CONFIG: Final[AppConfig] = {"client_id": API_KEY, "client_secret": API_SECRET, "old_client_secret": OLD_SECRET}
REQUIRED: Final = ("exp", "nbf", "aud", "dest", "sub")


def make(secret: str, algorithm: str, claims: dict[str, Any]) -> str:
    key = "" if algorithm == "none" else secret
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def oracle(token: str) -> Any:
    request: Any = {
        "method": "POST", "url": "https://app.example/x", "headers": {"Authorization": f"Bearer {token}"}, "body": "",
    }  # fmt: skip
    return verify_app_home_req(request, CONFIG, "/patch")


@given(
    secret=st.sampled_from([API_SECRET, OLD_SECRET, OTHER_SECRET]),
    algorithm=st.sampled_from(["HS256", "HS256", "none"]),
    audience=st.sampled_from([API_KEY, API_KEY, "another", None]),
    expires=st.sampled_from([60, 60, -3600, None]),
    begins=st.sampled_from([0, 0, 3600, None]),
    dest=st.sampled_from(
        [f"https://{SHOP}", f"https://{SHOP}", f"http://{SHOP}", f"https://{SHOP}.evil.example", None]
    ),
)
def test_id_tokens_are_accepted_where_shopifys_package_does_and_they_are_complete(
    secret: str, algorithm: str, audience: str | None, expires: int | None, begins: int | None, dest: str | None
) -> None:
    now = int(time.time())
    claims = {
        "aud": audience, "dest": dest, "sub": "42", "exp": None if expires is None else now + expires,
        "nbf": None if begins is None else now + begins,
    }  # fmt: skip
    token = make(secret, algorithm, claims)
    ours, theirs = verify_id_token(token, [API_SECRET, OLD_SECRET], API_KEY), oracle(token)
    # Stricter than the package: it accepts a token that never expires, and takes any text for the shop.
    is_complete = all(claims[name] is not None for name in REQUIRED) and dest == f"https://{SHOP}"
    assert (ours is not None) is (theirs.ok and is_complete)
    if ours:
        assert (ours.shop, ours.user) == (f"{theirs.shop}.myshopify.com", theirs.user_id)


def test_the_leeway_is_that_of_shopifys_package() -> None:
    for late, is_valid in ((LEEWAY_SECONDS - 5, True), (LEEWAY_SECONDS + 60, False)):
        now = int(time.time())
        claims = {"aud": API_KEY, "dest": f"https://{SHOP}", "sub": "42", "exp": now - late, "nbf": now - 120}
        token = make(API_SECRET, "HS256", claims)
        assert (verify_id_token(token, [API_SECRET], API_KEY) is not None) is oracle(token).ok is is_valid


class Recorder(httpx.AsyncBaseTransport):
    """Sends what goes to `https://{shop}` to the simulator, and keeps it."""

    def __init__(self, world: World) -> None:
        self._to = world.http
        self.sent: list[dict[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append({name: str(value) for name, value in json.loads(request.content).items()})
        url = str(request.url).replace("https://", "http://127.0.0.1/")
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept")}
        return await self._to.request("POST", url, content=request.content, headers=headers)


@pytest.fixture
def recorder(world: World, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder, post = Recorder(world), world.http.post

    async def keep(url: str, **options: Any) -> httpx.Response:
        if "data" in options:
            recorder.sent.append(options["data"])
        return await post(url, **options)

    monkeypatch.setattr(world.http, "post", keep)
    return recorder


async def by_package(recorder: Recorder, id_token: str) -> TokenExchangeResult:
    claims = jwt.decode(id_token, options={"verify_signature": False})
    details = IdTokenDetails(exchangeable=True, token=id_token, claims=claims)
    async with httpx.AsyncClient(transport=recorder) as http:
        return await token_exchange_async("offline", CONFIG, details, http_client=http)


async def test_we_ask_for_a_token_with_the_fields_that_shopifys_package_sends(world: World, recorder: Recorder) -> None:
    id_token = world.simulator.credentials.id_token(SHOP, API_KEY, API_SECRET)
    theirs = await by_package(recorder, id_token)
    assert theirs.ok
    ours = await world.client.exchange_id_token(SHOP, id_token)
    assert recorder.sent[0] == recorder.sent[1]
    assert ours.refresh
    assert ours.expires_at == world.clock.now() + timedelta(hours=1)
    assert (await world.client.query_with(ours, SHOP, READ_SHOP, {}))["shop"]["currencyCode"] == "USD"


async def test_the_simulator_refuses_an_exchange_where_shopifys_package_knows_the_error(
    world: World, recorder: Recorder
) -> None:
    credentials = world.simulator.credentials
    stale = credentials.id_token(SHOP, API_KEY, API_SECRET)
    world.clock.epoch += 3600
    assert (await by_package(recorder, stale)).log.code == "invalid_subject_token"
    others = credentials.id_token("lumiere-maison.myshopify.com", API_KEY, API_SECRET)
    as_ours = IdTokenDetails(exchangeable=True, token=others, claims={"dest": f"https://{SHOP}"})
    async with httpx.AsyncClient(transport=recorder) as http:
        refused = await token_exchange_async("offline", CONFIG, as_ours, http_client=http)
    assert refused.log.code == "invalid_subject_token"
    fresh = credentials.id_token(SHOP, API_KEY, API_SECRET)
    credentials.uninstall(SHOP)
    assert (await by_package(recorder, fresh)).log.code == "invalid_client"


async def test_a_token_that_shopifys_package_got_is_refreshed_by_us_and_by_the_package(
    world: World, recorder: Recorder
) -> None:
    id_token = world.simulator.credentials.id_token(SHOP, API_KEY, API_SECRET)
    issued = (await by_package(recorder, id_token)).access_token
    assert issued
    renewed = await world.client._refresh(SHOP, str(issued.refresh_token))
    assert renewed.refresh
    past = "2026-01-01T00:00:00Z"
    by_them = {
        "shop": SHOP.removesuffix(".myshopify.com"), "refresh_token": renewed.refresh, "expires": past,
        "refresh_token_expires": "2100-01-01T00:00:00Z", "access_mode": "offline",
    }  # fmt: skip
    async with httpx.AsyncClient(transport=recorder) as http:
        again = await refresh_access_token_async(by_them, CONFIG, http_client=http)
    assert again.ok, again.log
    assert recorder.sent[-1].keys() == recorder.sent[-2].keys()
