"""A flow that refuses invalid parameters, however its run was created: Prefect would end the run as Failed.

Unknown and missing parameters of a worker's run end it before its flow can see them: `deployments.worker` refuses it.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.exceptions import ParameterTypeError
from pydantic import ValidationError

from wishcraft.domain.storable_text import NOT_STORABLE, is_storable
from wishcraft.errors import QueryRefused
from wishcraft.invalid_values import explain

P = ParamSpec("P")
R = TypeVar("R")
_refusal: Final = ContextVar[QueryRefused | None]("refusal", default=None)


class JobFlow(Flow[P, R]):
    """A flow whose work begins with `require_valid_parameters`.

    Prefect's server knows only the form of the parameters, and its check can be switched off when a run is created.
    """

    def with_options(self, **options: Any) -> "JobFlow[P, R]":
        """A copy of the flow with other options."""
        changed = super().with_options(**options)
        changed.__class__ = JobFlow  # Prefect's copy is a plain flow
        return cast("JobFlow[P, R]", changed)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Cast the parameters to the types of the flow; if they are invalid, return none."""
        try:
            valid = self._validate(parameters)
        except QueryRefused as error:
            _refusal.set(error)
            return {}
        _refusal.set(None)
        return valid

    def _validate(self, parameters: dict[str, Any]) -> dict[str, Any]:
        for name, value in parameters.items():
            if not all(map(is_storable, _texts(value))):
                raise QueryRefused(f"{name} {NOT_STORABLE}")
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:  # a line for each parameter after the first line; it quotes no value
            reasons = [line.removeprefix(" - ") for line in str(error).splitlines()[1:]]
            if isinstance(error.__context__, ValidationError):
                known = list(self.parameters.properties)
                faults = error.__context__.errors(include_url=False, include_input=False)
                reasons = [f"{'.'.join(map(str, each['loc']))}: {explain(each, known)}" for each in faults]
            raise QueryRefused(f"invalid parameters: {'; '.join(reasons)}") from None


def require_valid_parameters() -> None:
    """Refuse the current run if its parameters are invalid.

    Raises:
        QueryRefused: They are; the message names them and quotes no value.
    """
    if refusal := _refusal.get():
        raise refusal


def _texts(value: object) -> Iterable[str]:
    """The texts in a parameter, also in its lists and mappings."""
    match value:
        case str():
            yield value
        case dict():
            for each in (*value, *value.values()):
                yield from _texts(each)
        case list() | tuple() | set():
            for each in value:
                yield from _texts(each)
