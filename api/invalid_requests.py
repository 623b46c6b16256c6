"""Puts into words what FastAPI found wrong with a request."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from wishcraft.errors import InvalidValue
from wishcraft.invalid_values import explain, known_names

MAX_ERRORS: Final = 50
"""Invalid values that an answer names."""
_NO_BODY: Final = 'is missing, or null. Send a JSON object, such as {"name": "value"}.'
_UNPARSED: Final[Mapping[type[BaseException], str]] = {
    RecursionError: "is nested too deeply. Send an object as the documentation of the operation has it.",
    ValueError: "has a number with too many digits.",
}
"""By the error of Python's parser of JSON."""
UNPARSED: Final = "is not JSON that can be read. Send a JSON object in UTF-8."


def describe_invalid(request: Request, error: RequestValidationError) -> tuple[str, list[InvalidValue]]:
    """What an answer says of an invalid request, and each of its invalid values with its place."""
    body = request.scope["route"].body_field
    return _describe(error.errors(), body and body.field_info.annotation)


def _describe(found: Sequence[Mapping[str, Any]], model: Any) -> tuple[str, list[InvalidValue]]:
    """As `describe_invalid`: `loc` of an error begins with the part of the request; `model` is that of the body."""
    shown = found[:MAX_ERRORS]
    texts = [_text(each, model) for each in shown]
    parts = [f"{_place(each)}: {text}" for each, text in zip(shown, texts, strict=True)]
    if len(found) > MAX_ERRORS:
        parts.append(f"and {len(found) - MAX_ERRORS:,} more")
    return "; ".join(parts), [_invalid_value(each, text) for each, text in zip(shown, texts, strict=True)]


def describe_unparsed(cause: BaseException | None) -> InvalidValue:
    """Why a body could not be parsed, by the error of the parser."""
    return InvalidValue(next((text for kind, text in _UNPARSED.items() if isinstance(cause, kind)), UNPARSED), "#")


def _place(error: Mapping[str, Any]) -> str:
    return "body" if error["type"] == "json_invalid" else ".".join(map(str, error["loc"]))


def _text(error: Mapping[str, Any], model: Any) -> str:
    part, *path = error["loc"]
    if error["type"] == "json_invalid":
        return f"is not valid JSON at character {error['loc'][-1] + 1}: {error['ctx']['error']}"
    if part != "body":
        return explain(error)
    if error["type"] == "missing" and not path:
        return _NO_BODY
    return explain(error, known_names(model, path[:-1]))


def _invalid_value(error: Mapping[str, Any], text: str) -> InvalidValue:
    part, *path = error["loc"]
    if part != "body":
        return InvalidValue(text, parameter=str(path[0]))
    if error["type"] == "json_invalid":  # `loc` has the position in the text
        path = []
    steps = (quote(str(step).replace("~", "~0").replace("/", "~1"), safe="~", errors="replace") for step in path)
    return InvalidValue(text, pointer="/".join(("#", *steps)))
