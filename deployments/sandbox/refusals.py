"""Answers what FastAPI finds wrong with a request to a server of the sandbox, in the words of WishCraft's API."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from api.invalid_requests import describe_invalid
from api.json_bodies import NOT_JSON, is_json


def register(app: FastAPI) -> None:
    """Let the application answer invalid requests with `{"detail": "what is wrong and what to send"}`."""
    app.add_exception_handler(RequestValidationError, _on_invalid)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this type
    content_type = request.headers.get("content-type", "")
    if content_type and not is_json(content_type):  # as curl sends it without -H
        return JSONResponse({"detail": NOT_JSON}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    detail, _ = describe_invalid(request, error)
    return JSONResponse({"detail": detail}, HTTPStatus.UNPROCESSABLE_ENTITY)
