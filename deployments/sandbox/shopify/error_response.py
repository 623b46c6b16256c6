"""Shopify's error responses to GraphQL requests: HTTP 200, `errors` and no `data`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from graphql import GraphQLError

_LIMITS_PAGE: Final = "https://shopify.dev/api/usage/rate-limits"


class ErrorResponse(Exception):  # noqa: N818  it is a response, not a failure of the simulator
    """Ends the handling of a request; `body` is the JSON response."""

    def __init__(self, errors: Iterable[Mapping[str, Any]], cost: Mapping[str, object] | None = None) -> None:
        super().__init__("error")
        self.body: dict[str, Any] = {"errors": list(errors)}
        if cost:
            self.body["extensions"] = {"cost": cost}

    @classmethod
    def throttled(cls, cost: Mapping[str, object]) -> "ErrorResponse":
        """THROTTLED: not enough points in the bucket."""
        extensions = {"code": "THROTTLED", "documentation": _LIMITS_PAGE}
        return cls([{"message": "Throttled", "extensions": extensions}], cost)

    @classmethod
    def max_cost_exceeded(cls, cost: int, most: int) -> "ErrorResponse":
        """MAX_COST_EXCEEDED: the query costs more than a single query may."""
        message = (
            f"Query cost is {cost}, which exceeds the single query max cost limit ({most}).\n\n"
            "To query larger amounts of data with fewer limits, bulk operations should be used instead."
        )
        extensions = {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": most, "documentation": _LIMITS_PAGE}
        return cls([{"message": message, "extensions": extensions}])

    @classmethod
    def access_denied(cls, field: str, cost: Mapping[str, object]) -> "ErrorResponse":
        """ACCESS_DENIED: the app may not use this field."""
        error = {"message": f"Access denied for {field} field.", "extensions": {"code": "ACCESS_DENIED"}}
        return cls([{**error, "path": [field]}], cost)

    @classmethod
    def with_code(cls, message: str, code: str) -> "ErrorResponse":
        """One error with one of Shopify's codes."""
        return cls([{"message": message, "extensions": {"code": code}}])

    @classmethod
    def invalid(cls, errors: Iterable[GraphQLError]) -> "ErrorResponse":
        """Validation errors of the document or its variables."""
        return cls([error.formatted for error in errors])
