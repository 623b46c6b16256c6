"""Refuses query parameters that a list would ignore: unknown ones, and all but the last of several of one name."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from wishcraft.errors import Invalid, InvalidValue
from wishcraft.shopify.signatures import SIGNED_FIELDS

_MAX_NAMES: Final = 6
_MAX_SHOWN: Final = 50


async def refuse_unknown_parameters(request: Request) -> None:
    """422 for a query parameter that neither the route names nor Shopify's app proxy adds, or that is repeated."""
    given, named = request.query_params, dict(_named_by(request.scope["route"].dependant))
    if unknown := sorted(given.keys() - {*named, *SIGNED_FIELDS}):
        names = [name[:_MAX_SHOWN] for name in unknown[:_MAX_NAMES]]
        known = f"Known are {', '.join(named)}."
        errors = (InvalidValue(f"is unknown. {known}", parameter=name) for name in names)
        raise Invalid(f"Unknown parameters: {', '.join(names)}. {known}", *errors)
    if repeated := [name for name, may_repeat in named.items() if not may_repeat and len(given.getlist(name)) > 1]:
        errors = (InvalidValue("is repeated, and may be there only once.", parameter=name) for name in repeated)
        raise Invalid(f"Repeated parameters: {', '.join(repeated)}. Each may be there only once.", *errors)


def _named_by(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The route's parameters by name, with whether they may be repeated."""
    for each in dependant.dependencies:
        yield from _named_by(each)
    yield from ((each.alias, _is_list(each.field_info.annotation)) for each in dependant.query_params)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


KnownParameters = Annotated[None, Depends(refuse_unknown_parameters)]
"""The last parameter of a list's handler: what else is wrong with a request goes first."""
