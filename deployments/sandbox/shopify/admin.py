"""HTTP side of the Admin API: routes, tokens, status codes. `SimulatedShop` executes GraphQL."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from deployments.sandbox.shopify.credentials import LIFETIME, TokenPair
from deployments.sandbox.shopify.faults import FaultKind
from deployments.sandbox.shopify.images import draw
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator

API_VERSION: Final = "2026-10"
_VERSION: Final = re.compile("20[0-9]{2}-(01|04|07|10)")
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  a name
TOKEN_TYPES: Final = (
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:shopify:params:oauth:token-type:offline-access-token",
)
"""The token to be exchanged, and the type of token asked for."""
SCOPES: Final = "read_customer_merge,read_inventory,read_orders,read_products,write_app_proxy"
_UNAUTHORIZED: Final = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}

router = APIRouter()


async def get_simulator(request: Request) -> Simulator:
    """Dependency: the application's simulator."""
    simulator: Simulator = request.app.state.simulator
    return simulator


async def get_shop(shop: str, simulator: Annotated[Simulator, Depends(get_simulator)]) -> SimulatedShop:
    """Dependency: the shop in the path; 404 if unknown."""
    if shop not in simulator.shops:
        raise HTTPException(404, "no such shop")
    return simulator.shops[shop]


ShopDep = Annotated[SimulatedShop, Depends(get_shop)]
SimulatorDep = Annotated[Simulator, Depends(get_simulator)]


@router.post("/{shop}/admin/api/{version}/graphql.json")
async def graphql(version: str, shop: ShopDep, simulator: SimulatorDep, request: Request) -> Response:
    """Execute an Admin GraphQL request. As Shopify does, it answers one to an older version in this one."""
    if not _VERSION.fullmatch(version) or version > API_VERSION:
        return _json({"errors": "Not Found"}, 404)
    failure = await _transport_fault(shop, simulator)
    if failure:
        return failure
    if not simulator.credentials.accepts(shop.demo.domain, request.headers.get("X-Shopify-Access-Token", "")):
        return _json(_UNAUTHORIZED, 401)
    body = _object(await request.body())
    query, variables = body.get("query"), body.get("variables") or {}
    if not isinstance(query, str) or not isinstance(variables, dict):
        return _json({"errors": {"query": "Required parameter missing or invalid"}}, 400)
    response = shop.execute(query, variables, f"{request.base_url}{shop.demo.domain}")
    content = orjson.dumps(response)
    if shop.faults.consume(FaultKind.MALFORMED):
        content = content[: len(content) // 2]
    return Response(content, media_type="application/json", headers={"X-Shopify-API-Version": API_VERSION})


@router.post("/{shop}/admin/oauth/access_token")
async def request_token(shop: ShopDep, simulator: SimulatorDep, request: Request) -> Response:
    """Issue a new pair of offline tokens, for a refresh token or for an ID token of the admin."""
    failure = await _transport_fault(shop, simulator, is_token_request=True)
    if failure:
        return failure
    raw = await request.body()
    is_json = "json" in request.headers.get("Content-Type", "")
    form = _object(raw) if is_json else dict(parse_qsl(raw.decode(errors="replace")))
    pair = _issue(shop, simulator, form)
    if isinstance(pair, str):
        status = 401 if pair == "invalid_client" else 400
        if "json" not in request.headers.get("Accept", ""):
            return HTMLResponse(f"<h1>Oauth error {pair}</h1>", status)  # what browsers get
        return _json({"error": pair}, status)
    answer: dict[str, object] = {
        "access_token": None if shop.faults.consume(FaultKind.EMPTY_TOKEN) else pair.access,
        "scope": SCOPES,
    }
    if pair.refresh:
        answer |= {"expires_in": LIFETIME, "refresh_token": pair.refresh, "refresh_token_expires_in": 90 * 24 * 3600}
    return _json(answer)


def _issue(shop: SimulatedShop, simulator: Simulator, form: Mapping[str, Any]) -> TokenPair | str:
    """The pair that the form asks for, or the error."""
    domain, credentials = shop.demo.domain, simulator.credentials
    expected = (simulator.api_key, simulator.api_secret)
    is_app = all(map(_same, (form.get("client_id"), form.get("client_secret")), expected))
    if not is_app or not credentials.is_installed(domain):
        return "invalid_client"
    if form.get("grant_type") == "refresh_token":
        refreshed = credentials.refresh(domain, str(form.get("refresh_token")))
        shop.counters.token_refreshes += refreshed is not None
        return refreshed or "invalid_grant"
    if form.get("grant_type") != TOKEN_EXCHANGE:
        return "unsupported_grant_type"
    if (form.get("subject_token_type"), form.get("requested_token_type")) != TOKEN_TYPES:
        return "invalid_request"
    if not credentials.is_id_token(domain, str(form.get("subject_token")), *expected):
        return "invalid_subject_token"
    shop.counters.token_exchanges += 1
    return credentials.issue(domain, is_expiring=str(form.get("expiring")) == "1")


@router.get("/{shop}/downloads/{key}")
async def download(shop: ShopDep, key: str) -> Response:
    """The file of a bulk operation; its URL is the credential."""
    shop.counters.downloads += 1
    content = shop.file(key)
    if content is None:
        raise HTTPException(404, "no such file")
    if shop.faults.consume(FaultKind.BULK_TRUNCATED):
        content = content[: len(content) * 2 // 3]
    return Response(content, media_type="application/jsonl")


@router.get("/{shop}/images/{handle}.svg")
async def image(shop: ShopDep, handle: str) -> Response:  # noqa: ARG001  which must exist
    """The image of a product, which may have been renamed or deleted."""
    return Response(draw(handle), media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


async def _transport_fault(
    shop: SimulatedShop, simulator: Simulator, *, is_token_request: bool = False
) -> Response | None:
    """The response of an active transport fault, if any; of requests for tokens, only the allowlist's is simulated."""
    answers: dict[FaultKind, Callable[[], Response]] = {
        FaultKind.UNAVAILABLE: lambda: HTMLResponse("<h1>503 Service Unavailable</h1>", 503),
        FaultKind.TOO_MANY_REQUESTS: lambda: Response(status_code=429, headers={"Retry-After": "1.0"}),
        FaultKind.FORBIDDEN: lambda: _json({"errors": "Forbidden"}, 403),
        FaultKind.FROZEN: lambda: _json({"errors": "Unavailable Shop"}, 402),
        FaultKind.LOCKED: lambda: _json({"errors": "Locked"}, 423),
        FaultKind.EXPIRED_TOKEN: lambda: _json(_UNAUTHORIZED, 401),
        FaultKind.HANG: lambda: HTMLResponse("<h1>504 Gateway Timeout</h1>", 504),
    }
    kinds = [FaultKind.FORBIDDEN] if is_token_request else list(answers)
    kind = next((kind for kind in kinds if shop.faults.consume(kind)), None)
    if kind is None:
        return None
    if kind is FaultKind.HANG:
        await asyncio.sleep(simulator.hang_seconds)
    return answers[kind]()


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _same(given: str | None, expected: str) -> bool:
    return secrets.compare_digest((given or "").encode(), expected.encode())
