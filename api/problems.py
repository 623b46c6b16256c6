"""Errors as `application/problem+json` (RFC 9457) with a stable `type`; nothing else makes an error body."""

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

_log: Final = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 5
"""How long a client is told to wait when a store is away."""


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    type: str = Field(examples=["urn:wishcraft:problem:not-found"], description="Names the kind; it never changes.")
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """Raised by a route to answer with a problem."""

    def __init__(self, status: HTTPStatus, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, headers


def not_found(detail: str) -> ProblemError:
    """404: also for what exists in another shop, or is not this caller's to see."""
    return ProblemError(HTTPStatus.NOT_FOUND, "not-found", detail)


def unauthorized(detail: str) -> ProblemError:
    """401, naming the scheme that a server may use."""
    headers = {"WWW-Authenticate": 'ApiKey header="X-API-Key"'}
    return ProblemError(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers)


_USUAL_KINDS: Final = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "access-code-required",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid-request",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with problems of these statuses."""
    return {int(status): {"description": status.phrase, "content": _example(status)} for status in statuses}


def _example(status: HTTPStatus) -> dict[str, Any]:
    problem = Problem(
        type=f"urn:wishcraft:problem:{_USUAL_KINDS[status]}",
        title=status.phrase,
        status=status,
        detail="Why, in words.",
    )
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"application/problem+json": {"schema": schema, "example": problem.model_dump()}}


def answer(status: HTTPStatus, kind: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The response itself."""
    problem = Problem(type=f"urn:wishcraft:problem:{kind}", title=status.phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, headers, "application/problem+json")


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101  how it is registered
    return answer(error.status, error.kind, error.detail, error.headers)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  how it is registered
    status = HTTPStatus(error.status_code)
    kind = status.phrase.lower().replace(" ", "-")
    return answer(status, kind, str(error.detail), dict(error.headers or {}))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  how it is registered
    faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "; ".join(faults))


async def _on_database(_: Request, error: Exception) -> Response:
    _log.error("the database did not answer", exc_info=error)
    headers = {"Retry-After": str(PAUSE_SECONDS)}
    return answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The database is away; try again soon.", headers)


async def _on_bug(_: Request, error: Exception) -> Response:
    _log.error("unhandled", exc_info=error)
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")


def register(app: FastAPI) -> None:
    """Let every error of the application be answered as a problem."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    for away in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(away, _on_database)
    app.add_exception_handler(Exception, _on_bug)
