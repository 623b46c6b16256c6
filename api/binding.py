"""Runs a route's dependencies and its handler for a valid request. FastAPI's solver takes longer than a change does.

A route declares what it needs as FastAPI has it, and this reads the declaration. What is not valid goes to FastAPI,
whose answer names all errors.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, NamedTuple

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

Run = Callable[[Request], Awaitable[Response | None]]
_JSON: Final = frozenset({"application/json", "application/json;charset=utf-8"})
"""The usual values of `Content-Type`, without spaces. FastAPI answers a request with another one that is valid."""


class _Step(NamedTuple):
    """The call of a dependency or, as the last step, of the handler."""

    call: Callable[..., Any]
    path: list[Any]
    """Fields of FastAPI."""
    headers: list[Any]
    results: list[tuple[str, Callable[..., Any]]]
    """Each parameter that gets the result of an earlier step, and that step's call."""
    credentials: dict[str, None]
    """The parameters that security schemes would fill: the caller is authenticated before."""
    request: str | None
    """The parameter that gets the request."""


def bind_route(route: APIRoute) -> Run | None:
    """A function that answers requests of the route; None if it needs more than path, headers, request and JSON body.

    The function returns None, and has called nothing, if the request is not valid: it validates what all steps need
    before it takes the first.
    """
    declared = list(_in_call_order(route.dependant, set()))
    bodies: dict[str, Any] = {each.name: each.field_info.annotation for each in route.dependant.body_params}
    if (
        route.response_class is not Response
        or any(each.query_params or each.cookie_params or each.response_param_name for each in declared)
        or len(bodies) > 1
        or not all(isinstance(model, type) and issubclass(model, BaseModel) for model in bodies.values())
    ):
        return None
    steps = [_make_step(each) for each in declared]

    async def run(request: Request) -> Response | None:
        results: dict[Callable[..., Any], Any] = {}
        try:
            values = [
                step.credentials | _validate(step.path, request.path_params) | _validate(step.headers, request.headers)
                for step in steps
            ]
            for name, model in bodies.items():
                media_type = request.headers.get("content-type", "").lower().replace(" ", "")
                if media_type not in _JSON or "content-encoding" in request.headers:
                    return None
                values[-1][name] = model.model_validate_json(await request.body())
        except (_InvalidError, ValidationError, ClientDisconnect):
            return None
        for step, arguments in zip(steps, values, strict=True):
            for name, call in step.results:
                arguments[name] = results[call]
            if step.request:
                arguments[step.request] = request
            results[step.call] = await step.call(**arguments)
        response: Response = results[steps[-1].call]
        return response

    return run


class _InvalidError(Exception):
    """A value is missing or not valid."""


def _in_call_order(dependant: Dependant, seen: set[Callable[..., Any] | None]) -> Iterator[Dependant]:
    """The dependencies of the dependant, then itself: each once, in FastAPI's order."""
    for each in dependant.dependencies:
        yield from _in_call_order(each, seen)
    if dependant.call not in seen and not isinstance(dependant.call, SecurityBase):
        seen.add(dependant.call)
        yield dependant


def _make_step(dependant: Dependant) -> _Step:
    assert dependant.call  # noqa: S101  only dependants that FastAPI has not finished have none
    filled = [(each.name, each.call) for each in dependant.dependencies if each.name and each.call]
    results = [(name, call) for name, call in filled if not isinstance(call, SecurityBase)]
    return _Step(
        dependant.call,
        dependant.path_params,
        dependant.header_params,
        results,
        dict.fromkeys((name for name, call in filled if isinstance(call, SecurityBase)), None),
        dependant.request_param_name,
    )


def _validate(fields: list[Any], given: Any) -> dict[str, Any]:
    """The values of the fields by parameter; raises _InvalidError."""
    values = {}
    for field in fields:
        text = given.get(field.alias)
        if text is None:
            if field.field_info.is_required():
                raise _InvalidError
            values[field.name] = field.default
        else:
            values[field.name], errors = field.validate(text)
            if errors:
                raise _InvalidError
    return values
