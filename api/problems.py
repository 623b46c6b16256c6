"""Error responses: `application/problem+json` (RFC 9457) with a stable `type`. No other module makes an error body."""

import logging
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Scope

from api.invalid_requests import describe_invalid, describe_unparsed
from api.problem_kinds import KINDS, USUAL
from api.schemas.headers import RETRY_AFTER, WWW_AUTHENTICATE
from wishcraft.errors import (
    NO_SUCH_REGISTRY,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnavailable,
    Invalid,
    InvalidValue,
    NotAllowed,
    RequestRefused,
    ShopifyPaused,
    ShopifyRefused,
    ShopifyThrottled,
    ShopifyUnavailable,
    TooManyRequests,
)
from wishcraft.observability.context import bind

_log: Final = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 5
"""`Retry-After` when a store does not answer."""
PAUSE: Final = {"Retry-After": str(PAUSE_SECONDS)}
REPORT_AGAIN_SECONDS: Final = 1.0
"""Minimum time between two Sentry events of a route about the database: each costs more than the response."""


class InvalidField(BaseModel):
    """A value of the request that is not valid. It has a `pointer` or a `parameter`."""

    detail: str = Field(examples=["must have 120 characters or fewer"], description="Why the value is not valid.")
    pointer: str | None = Field(
        None,
        examples=["#/registrant/email"],
        description="Where the value is in the body: a JSON pointer as a URI fragment; `#` is the whole body.",
    )
    parameter: str | None = Field(
        None, examples=["price_min"], description="The query parameter, path parameter or header that has the value."
    )


class Problem(BaseModel):
    """An error: what went wrong, and what to do about it."""

    type: str = Field(
        examples=["urn:wishcraft:problem:not-found"], description="The kind of the problem. It never changes."
    )
    title: str = Field(examples=["Not Found"], description="The phrase of the status.")
    status: int = Field(examples=[404], description="The status of the response.")
    detail: str = Field(examples=[NO_SUCH_REGISTRY], description="What is wrong, and what to do.")
    errors: list[InvalidField] | None = Field(None, description="With 422: the values that are not valid, if known.")


class ProblemError(Exception):
    """Raised by a route to answer with this problem."""

    def __init__(self, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.status, self.detail, self.headers = kind, KINDS[kind].status, detail, headers


def not_found(detail: str) -> ProblemError:
    """404: also if it is in another shop, or the caller may not see it."""
    return ProblemError("not-found", detail)


def unauthorized(detail: str, more_headers: Mapping[str, str] | None = None) -> ProblemError:
    """401, with the authentication scheme of servers."""
    headers = {"WWW-Authenticate": 'ApiKey header="X-API-Key"', **(more_headers or {})}
    return ProblemError("unauthorized", detail, headers)


def not_installed() -> ProblemError:
    """401: the credentials are valid, and their shop has not installed the app."""
    detail = "The credentials are valid, but the shop has not installed the app. Open the app in the shop's admin."
    return ProblemError("shop-not-installed", detail)


def no_such_registry() -> ProblemError:
    """404: the shop has no such registry, or the caller may not read it."""
    return not_found(NO_SUCH_REGISTRY)


def forbidden(detail: str, kind: str = NotAllowed.kind) -> ProblemError:
    """403: the caller is authenticated, but not permitted to do this."""
    return ProblemError(kind, detail)


def too_many(detail: str, retry_after: int) -> ProblemError:
    """429 with `Retry-After`, the seconds to wait."""
    return ProblemError("too-many-requests", detail, {"Retry-After": str(retry_after)})


def unavailable(detail: str) -> ProblemError:
    """503: something that the request needs does not answer."""
    return ProblemError("unavailable", detail, PAUSE)


_UNMATCHED: Final = "unmatched"
_DETAILS: Final = {
    HTTPStatus.NOT_FOUND: "There is no such path. /api/docs has all paths.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path has no such method. The header Allow has those that it has.",
}
"""The `detail` of an error of the router, whose own text is the phrase of the status."""
COMMON: Final = (
    "unauthorized",
    "shop-not-installed",
    "not-allowed",
    "invalid-request",
    "too-many-requests",
    "unavailable",
)
"""The problems that any route with authentication may answer with."""
WITH_BODY: Final = ("request-timeout", "content-too-large", "unsupported-media-type")
"""The problems that any route that reads a body may answer with."""
_PROBLEM_JSON: Final = "application/problem+json"
_HEADERS: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": WWW_AUTHENTICATE},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": RETRY_AFTER},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER},
}


def documented(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that may answer with problems of these kinds."""
    by_status: dict[HTTPStatus, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    return {
        int(status): {
            "description": "\n".join(f"- `{kind}`: {KINDS[kind].meaning}. {KINDS[kind].advice}" for kind in named),
            "headers": _HEADERS.get(status, {}),
            "content": {_PROBLEM_JSON: _content(named)},
        }
        for status, named in by_status.items()
    }


def _content(kinds: Iterable[str]) -> dict[str, Any]:
    """The schema of problems, and an example of each kind."""
    examples = {kind: {"summary": kind, "value": _example(kind)} for kind in kinds}
    return {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}


def _example(kind: str) -> dict[str, Any]:
    errors = [InvalidField(detail="is missing", pointer="#/title")] if kind == Invalid.kind else None
    return _problem(kind, KINDS[kind].advice, errors).model_dump(exclude_none=True)


def _problem(kind: str, detail: str, errors: list[InvalidField] | None) -> Problem:
    status = KINDS[kind].status
    return Problem(
        type=f"urn:wishcraft:problem:{kind}", title=status.phrase, status=status, detail=detail, errors=errors
    )


def answer(
    kind: str, detail: str, headers: dict[str, str] | None = None, errors: Iterable[InvalidValue] = ()
) -> Response:
    """A response with the problem as JSON (RFC 9457), under the status of its kind."""
    problem = _problem(kind, detail, [InvalidField(**each._asdict()) for each in errors] or None)
    return JSONResponse(problem.model_dump(exclude_none=True), problem.status, headers, _PROBLEM_JSON)


def route_of(scope: Scope) -> str:
    """The route's path template, which names no registry; `unmatched` if no route matched."""
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def find_route(routes: Iterable[Route], scope: Scope) -> str:
    """The path template of the route that matches: what `route_of` returns once the request has been routed."""
    matches = [(route.matches(scope)[0], route.path) for route in routes]
    return next(
        (path for wanted in (Match.FULL, Match.PARTIAL) for match, path in matches if match is wanted), _UNMATCHED
    )


def log_server_error(
    scope: Scope, message: str, *arguments: object, error: BaseException | None = None, level: int = logging.ERROR
) -> None:
    """Log what went wrong at a request, with its route. ERROR and above also go to Sentry."""
    bind(method=scope["method"], route=route_of(scope))
    _log.log(level, message, *arguments, exc_info=error)


class _Reports:
    """Says at most once in `REPORT_AGAIN_SECONDS` that something of a route is due to be reported."""

    def __init__(self) -> None:
        self._quiet_until: dict[str, float] = {}

    def is_due(self, scope: Scope) -> bool:
        route, now = route_of(scope), time.monotonic()
        if now < self._quiet_until.get(route, 0):
            return False
        self._quiet_until[route] = now + REPORT_AGAIN_SECONDS
        return True


class _OnProblem:
    """Handler of a problem that a route raised. None is an error: anyone can cause one, by many large bodies."""

    def __init__(self) -> None:
        self._reports = _Reports()

    async def __call__(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101  registered for this type
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and self._reports.is_due(request.scope):
            message = "A request cannot be served now: %s"
            log_server_error(request.scope, message, error.detail, level=logging.WARNING)
        return answer(error.kind, error.detail, error.headers)


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)  # noqa: S101  registered for this type
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyRequests) else None
    errors = error.errors if isinstance(error, Invalid) else ()
    return answer(error.kind, str(error), headers, errors)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this type
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette names the methods of one route of the path
        headers["Allow"] = ", ".join(_methods_of(request)) or headers.get("Allow", "GET, HEAD")
    status, errors = HTTPStatus(error.status_code), list[InvalidValue]()
    detail = _DETAILS.get(status, str(error.detail))
    if status is HTTPStatus.BAD_REQUEST:  # FastAPI's status for a body that is not text; 422 if it is not JSON
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        errors.append(describe_unparsed(error.__cause__))
        detail = f"body: {errors[0].detail}"
    return answer(USUAL[status], detail, headers, errors)


def _methods_of(request: Request) -> list[str]:
    """The methods that the request's path supports."""
    routes: list[Route] = request.app.state.routes
    methods = {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this type
    detail, errors = describe_invalid(request, error)
    return answer(Invalid.kind, detail, errors=errors)


async def _on_refused_value(request: Request, error: Exception) -> Response:
    """A value that passed the schemas and PostgreSQL cannot store, such as a NUL character in a search."""
    log_server_error(request.scope, "PostgreSQL refused a value: %s", error, level=logging.WARNING)
    return answer(
        Invalid.kind, "A value of the request cannot be stored or computed. Send texts without control characters."
    )


class _OnOutage:
    """Handler of a store's errors: all are logged, but at most one per route and second goes to Sentry."""

    def __init__(self, what_happened: str) -> None:
        self._what_happened = what_happened
        self._reports = _Reports()

    async def __call__(self, request: Request, error: Exception) -> Response:
        pause = error.retry_after if isinstance(error, ShopifyPaused) else PAUSE_SECONDS
        if isinstance(error, ShopifyPaused) or not self._reports.is_due(request.scope):
            log_server_error(request.scope, f"{self._what_happened} again", level=logging.WARNING)
        else:
            log_server_error(request.scope, self._what_happened, error=error)
        detail = f"{self._what_happened}. Try again later."
        if isinstance(error, DatabaseBusy):
            detail = "Another request is changing the same data. Try again."
        return answer("unavailable", detail, {"Retry-After": str(pause)})


async def _on_bug(_: Request, __: Exception) -> Response:
    """Starlette raises the error again after the response; `RequestMiddleware` logs it then."""
    return answer("internal", "An internal error occurred. It has been logged with this X-Request-Id.")


def register(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    app.add_exception_handler(ProblemError, _OnProblem())
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(RequestRefused, _on_refused)
    on_shopify = _OnOutage("Shopify gave no usable answer")
    for shopify_error in (ShopifyUnavailable, ShopifyThrottled, ShopifyRefused):
        app.add_exception_handler(shopify_error, on_shopify)
    app.add_exception_handler(DatabaseUnavailable, _OnOutage("The database did not answer"))
    app.add_exception_handler(DatabaseRefused, _on_refused_value)
    app.add_exception_handler(Exception, _on_bug)
