"""Refuses a body that is not JSON in UTF-8, before it is parsed. Raw bodies, such as webhooks, do not get here."""

from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.problems import ProblemError
from wishcraft.errors import Invalid, InvalidValue

JSON: Final = "application/json"
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
"""The names of UTF-8 in `charset`, and of a part of it."""
_KIND: Final = "unsupported-media-type"
NOT_JSON: Final = f"The body must be JSON, with the header Content-Type: {JSON}."


async def require_json(request: Request, *, is_required: bool) -> None:
    """Refuse a body that is compressed or not JSON in UTF-8. An empty body passes unless it `is_required`.

    Raises:
        ProblemError: 415, for what the headers say of the body; or the client left.
        Invalid: The body is not UTF-8, or has a NUL character.
    """
    try:
        body = await request.body()
    except ClientDisconnect:
        raise ProblemError("bad-request", "The body is incomplete.") from None
    if not body and not is_required:
        return
    coding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding not in {"", "identity"}:
        detail = "The body must not be compressed. Send it as it is, without the header Content-Encoding."
        raise ProblemError(_KIND, detail, {"Accept-Encoding": "identity"})
    content_type = request.headers.get("content-type", "")
    if not is_json(content_type):
        raise ProblemError(_KIND, NOT_JSON, {"Accept": JSON})
    if not all(map(_is_utf_8, content_type.lower().split(";")[1:])):
        detail = f"The body must be JSON in UTF-8. Send it so, with the header Content-Type: {JSON}."
        raise ProblemError(_KIND, detail, {"Accept": JSON})
    if fault := _fault_of(body):
        raise Invalid(f"body: {fault}", InvalidValue(fault, pointer="#"))


def _fault_of(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "is not UTF-8. Send JSON in that encoding."
    # Python's parser would take it for UTF-16 or UTF-32.
    return "has a NUL character, or is UTF-16 or UTF-32. Send JSON in UTF-8, without NUL." if "\0" in text else ""


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON, as FastAPI has it."""
    main_type, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return main_type == "application" and (subtype == "json" or subtype.endswith("+json"))


def _is_utf_8(parameter: str) -> bool:
    """Whether a parameter of `Content-Type` leaves the body in UTF-8."""
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip().strip('"') in _UTF_8
