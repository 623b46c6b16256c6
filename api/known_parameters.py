"""Refuses query parameters that a route does not name: a list would show everything for a misspelt filter."""

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from wishcraft.errors import Invalid, InvalidValue
from wishcraft.shopify.signatures import SIGNED_FIELDS

_MAX_NAMES: Final = 6
_MAX_SHOWN: Final = 50


async def refuse_unknown_parameters(request: Request) -> None:
    """422 for a query parameter that neither the route names nor Shopify's app proxy adds."""
    named = dict.fromkeys(_named_by(request.scope["route"].dependant))
    if unknown := sorted(request.query_params.keys() - {*named, *SIGNED_FIELDS}):
        names = [name[:_MAX_SHOWN] for name in unknown[:_MAX_NAMES]]
        known = f"Known are {', '.join(named)}."
        errors = (InvalidValue(f"is unknown. {known}", parameter=name) for name in names)
        raise Invalid(f"Unknown parameters: {', '.join(names)}. {known}", *errors)


def _named_by(dependant: Dependant) -> Iterator[str]:
    for each in dependant.dependencies:
        yield from _named_by(each)
    yield from (each.alias for each in dependant.query_params)


KnownParameters = Annotated[None, Depends(refuse_unknown_parameters)]
"""The last parameter of a list's handler: what else is wrong with a request goes first."""
