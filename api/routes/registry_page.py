"""The page of a registry on the shop's own domain, where the links of mails and shares lead."""

from collections.abc import Callable, Coroutine, Mapping
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from api.auth.dependencies import MAY_NAME_CUSTOMER, AppStateDep, Reader, Senders
from api.problems import COMMON, WITH_BODY, ProblemError, documented
from api.registry_html import (
    NO_REGISTRY,
    PROTECTED,
    TOO_MANY_TRIES,
    UNAVAILABLE,
    WRONG_CODE,
    Style,
    notice_page,
    registry_page,
)
from api.routes.registries import NOT_MODIFIED, GrantQuery, Ref, read_authorized
from api.state import AppState
from wishcraft.domain.access_codes import MAX_LENGTH
from wishcraft.domain.callers import Caller
from wishcraft.domain.etags import matches
from wishcraft.domain.storable_text import is_storable
from wishcraft.errors import Conflict, DatabaseUnavailable, NotAllowed, NotFound, TooManyTries
from wishcraft.services.registries.access import unlock
from wishcraft.store.schema import ShopSettings


class _PageRoute(APIRoute):
    """A route that answers with a page also while PostgreSQL does not answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                return await handle(request)
            except DatabaseUnavailable as error:
                # It logs the error, and says when to try again.
                problem = await request.app.exception_handlers[DatabaseUnavailable](request, error)
                style = await _style(request.app.state.app_state, getattr(request.state, "caller", None))
                page = _page(notice_page(UNAVAILABLE, style), HTTPStatus(problem.status_code))
                page.headers["Retry-After"] = problem.headers["Retry-After"]
                return page

        return respond


router: Final = APIRouter(tags=["registries"], route_class=_PageRoute)

_POLICY: Final = (
    "default-src 'none'; img-src * data:; style-src 'unsafe-inline'; form-action 'self' https:; base-uri 'none';"
    " frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",  # a grant may be in the address
}
_DIGEST_SIZE: Final = 16
_MOST_FIELDS: Final = 10
_HTML: Final[dict[str, Any]] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_PAGES: Final[dict[int | str, dict[str, Any]]] = {
    **documented(*COMMON),
    HTTPStatus.OK: {"description": "The page.", **_HTML},
    HTTPStatus.FORBIDDEN: {"description": "A page that asks for the access code.", **_HTML},
    HTTPStatus.NOT_FOUND: {"description": "A page that says that there is no such registry.", **_HTML},
}
_PAGES[HTTPStatus.SERVICE_UNAVAILABLE]["description"] += "\n- While PostgreSQL does not answer: a page that says so."
_PAGES[HTTPStatus.SERVICE_UNAVAILABLE]["content"] |= _HTML["content"]
_TOO_MANY: Final = documented("too-many-requests")[HTTPStatus.TOO_MANY_REQUESTS]
_TOO_MANY["description"] += "\n- After wrong access codes: a page that asks to wait, and for the access code."
_TOO_MANY["content"] |= _HTML["content"]
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "description": "The form of the page.",
                    "properties": {
                        "access_code": {
                            "type": "string",
                            "maxLength": MAX_LENGTH,
                            "description": "The access code that the guest entered.",
                        }
                    },
                    "required": ["access_code"],
                    "additionalProperties": False,
                    "examples": [{"access_code": "tulip-canoe-amber"}],
                }
            }
        }
    }
}


@router.get(
    "/api/r/{ref}",
    summary="Show the page of a registry",
    response_class=HTMLResponse,
    responses={**_PAGES, **NOT_MODIFIED},
    openapi_extra=MAY_NAME_CUSTOMER,
)
async def show(
    request: Request, app_state: AppStateDep, caller: Reader, ref: Ref, grant: GrantQuery = None
) -> Response:
    """The registry for people: what is wished for, what it costs and what is left, with buttons that fill the cart.

    A cart line that was added here carries the item, so that the order counts as a purchase. Through the app proxy
    the address is `https://SHOP/apps/registry/r/SLUG`.
    """
    return await _answer(request, app_state, caller, ref, grant)


@router.post(
    "/api/r/{ref}",
    summary="Open the page of a protected registry",
    response_class=HTMLResponse,
    responses={**_PAGES, **documented(*WITH_BODY), HTTPStatus.TOO_MANY_REQUESTS: _TOO_MANY},
    openapi_extra=MAY_NAME_CUSTOMER | _FORM,
)
async def open_protected(
    request: Request, app_state: AppStateDep, caller: Reader, ref: Ref, senders: Senders
) -> Response:
    """The form of the page sends the access code here; the answer is the page of the registry."""
    request.state.caller = caller
    code, slug = _read_code(await request.body()), await app_state.reader.find_slug(caller, ref)
    style = await _style(app_state, caller)
    if not code:
        return _page(notice_page(WRONG_CODE, style), HTTPStatus.FORBIDDEN)
    grant: str | None = None
    try:
        if slug is not None:
            grant = (await unlock(app_state.resources, caller, senders, slug, code)).token
    except NotAllowed:
        return _page(notice_page(WRONG_CODE, style), HTTPStatus.FORBIDDEN)
    except TooManyTries as error:
        page = _page(notice_page(TOO_MANY_TRIES, style), HTTPStatus.TOO_MANY_REQUESTS)
        page.headers["Retry-After"] = str(error.retry_after)
        return page
    except (Conflict, NotFound):  # it needs no code, or guests cannot read it: the page says so
        pass
    return await _answer(request, app_state, caller, ref, grant)


async def _answer(request: Request, app_state: AppState, caller: Caller, ref: str, grant: str | None) -> Response:
    request.state.caller = caller
    style = await _style(app_state, caller)
    try:
        slug, result = await read_authorized(app_state, caller, ref, grant)
    except ProblemError as problem:
        if problem.status is HTTPStatus.NOT_FOUND:
            return _page(notice_page(NO_REGISTRY, style), problem.status)
        if problem.kind == "access-code-required":
            return _page(notice_page(PROTECTED, style), problem.status)
        raise
    registry: Mapping[str, Any] = orjson.loads(result.entry.body)
    page = registry_page(registry, style)
    response = _page(page, HTTPStatus.OK)
    etag = f'"{blake2b(page.encode(), digest_size=_DIGEST_SIZE).hexdigest()}"'
    response.headers["ETag"] = etag
    if registry["visibility"] != "public":
        response.headers["X-Robots-Tag"] = "noindex"
    given = ", ".join(request.headers.getlist("if-none-match"))
    if request.method == "GET" and given and matches(given, etag):
        del response.headers["Content-Length"], response.headers["Content-Type"]
        response.status_code, response.body = HTTPStatus.NOT_MODIFIED, b""
    app_state.traffic_recorder.count_read(caller.shop_id, slug, result.state, len(response.body))
    return response


async def _style(app_state: AppState, caller: Caller | None) -> Style:
    """The style of the shop's pages; the default if the shop is not known, or PostgreSQL does not answer."""
    try:
        settings = await app_state.shop_settings.get(caller.shop_id) if caller else None
    except DatabaseUnavailable:
        settings = None
    settings = settings or ShopSettings()
    return Style(settings.language, settings.brand_colour)


def _read_code(form: bytes) -> str:
    """The access code of the posted form; empty if there is none that can be one."""
    try:
        code = parse_qs(form.decode(), max_num_fields=_MOST_FIELDS, errors="strict").get("access_code", [""])[0]
    except ValueError:
        return ""
    return code if len(code) <= MAX_LENGTH and is_storable(code) else ""


def _page(page: str, status: HTTPStatus) -> HTMLResponse:
    private = {} if status is HTTPStatus.OK else {"X-Robots-Tag": "noindex", "Cache-Control": "no-store"}
    return HTMLResponse(page, status, headers=_HEADERS | private)
