"""Browsers' requests to a shop: those that go through the app proxy, and the pages of a theme that links lead to."""

from html import escape
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from deployments.sandbox.shopify.admin import ShopDep, SimulatorDep
from deployments.sandbox.shopify.app_proxy import PREFIX, AppUnreachableError, ProxiedRequest, passed_on

MAX_BODY: Final = 2 * 2**20
CUSTOMER_COOKIE: Final = "customer_id"
"""The simulator's login: the cookie's value is the customer's id."""
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_THEME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><meta name="color-scheme" content="light dark"><title>{title}</title><style>
body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 .5rem; overflow-wrap: anywhere; }}
</style></head><body><h1>{title}</h1>
<p>In a real shop its theme answers here. The simulator has no theme; this is what the theme would have got.</p>
<dl>{fields}</dl>
<p>To buy something, order it as <i>Example: a guest buys a gift</i> in <code>docs/sandbox.md</code> does; the simulated
guests buy by themselves. Your browser's <i>back</i> leads to the registry.</p></body></html>
"""
router: Final = APIRouter()


@router.get("/products/{handle}", include_in_schema=False)
async def show_product(handle: str, request: Request) -> HTMLResponse:
    """The place of a theme's page of a product, to which a registry's page links."""
    return _theme_page("A product's page", {"product": handle, **request.query_params})


@router.post("/cart/add", include_in_schema=False)
async def add_to_cart(request: Request) -> HTMLResponse:
    """The place of a theme's cart, to which a registry's page sends its form."""
    return _theme_page("The cart", dict(parse_qsl((await request.body()).decode("utf-8", "replace"))))


@router.api_route("/{shop}" + PREFIX + "/{path:path}", methods=_METHODS, include_in_schema=False)
async def visit(shop: ShopDep, simulator: SimulatorDep, request: Request) -> Response:
    """Pass a browser's request on to the app; 404 if the shop does not have it."""
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
    except AppUnreachableError as error:
        return Response(f"The page cannot be shown: {error}.", HTTPStatus.BAD_GATEWAY)
    passed = Response(answer.content, answer.status_code)
    for name, value in passed_on(answer.headers.multi_items()):
        passed.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))
    return passed


def _theme_page(title: str, fields: dict[str, str]) -> HTMLResponse:
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in fields.items())
    return HTMLResponse(_THEME.format(title=escape(title), fields=shown))
