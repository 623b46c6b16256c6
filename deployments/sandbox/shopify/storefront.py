"""Visitors' requests to a shop that go through the app proxy."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from deployments.sandbox.shopify.admin import ShopDep, SimulatorDep
from deployments.sandbox.shopify.app_proxy import PREFIX, AppAwayError, ProxiedRequest, passed_on

MAX_BODY: Final = 2 * 2**20
CUSTOMER_COOKIE: Final = "customer_id"
"""The simulator's login: the cookie's value is the customer's id."""
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
router: Final = APIRouter()


@router.api_route("/{shop}" + PREFIX + "/{path:path}", methods=_METHODS, include_in_schema=False)
async def visit(shop: ShopDep, simulator: SimulatorDep, request: Request) -> Response:
    """Pass a visitor's request on to the app; 404 if the shop does not have it."""
    if not simulator.credentials.is_installed(shop.demo.domain):
        raise HTTPException(HTTPStatus.NOT_FOUND, "the shop does not have the app")
    if simulator.proxy is None:
        return Response("The simulator was started without --app.", HTTPStatus.BAD_GATEWAY)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return Response("The request is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    customer = request.cookies.get(CUSTOMER_COOKIE, "")
    prefix = f"/{shop.demo.domain}{PREFIX}/"
    visit = ProxiedRequest(
        method=request.method,
        path=request.scope["raw_path"].decode("latin-1").removeprefix(prefix),
        query=request.scope["query_string"].decode("latin-1"),
        headers=request.headers.items(),
        body=body,
        address=request.client.host if request.client else "127.0.0.1",
        customer_id=int(customer) if customer.isascii() and customer.isdigit() and len(customer) < 19 else None,  # noqa: PLR2004  of 64 bits
    )
    try:
        answer = await simulator.proxy.forward(shop.demo.domain, visit)
    except AppAwayError as error:
        return Response(f"The app does not answer: {error}.", HTTPStatus.BAD_GATEWAY)
    passed = Response(answer.content, answer.status_code)
    for name, value in passed_on(answer.headers.multi_items()):
        passed.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))
    return passed
