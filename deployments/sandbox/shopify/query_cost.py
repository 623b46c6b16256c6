"""Requested and actual cost of a GraphQL document, and Shopify's limits on its arguments.

https://shopify.dev/docs/api/usage/limits#cost-calculation defines it: an object costs 1, a scalar 0, a mutation 10,
an interface its most expensive type, a connection the objects that its `first` allows. The connection itself costs 2
here, as described by Shopify's engineers; the current value is not published and sometimes less.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_argument_values,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.values import VariableValues, get_variable_values

from deployments.sandbox.shopify.error_response import ErrorResponse
from deployments.sandbox.shopify.schema import SCHEMA

MAX_IDS: Final = 250
MAX_POINTS: Final = 1000
_MUTATION: Final = 10
_CONNECTION: Final = 2
_FREE: Final = re.compile(r"Edge$|^PageInfo$")
_GLOBAL_ID: Final = re.compile(r"gid://shopify/[A-Za-z]+/[0-9]+(\?.*)?")


class QueryCost:
    """Cost of a valid document with its variables.

    Raises:
        ErrorResponse: The variables are invalid.
    """

    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        parts = document.definitions
        self._fragments = {part.name.value: part for part in parts if isinstance(part, FragmentDefinitionNode)}
        self._operation = next(part for part in parts if isinstance(part, OperationDefinitionNode))
        self._root = cast("GraphQLObjectType", SCHEMA.get_root_type(self._operation.operation))
        coerced = get_variable_values(SCHEMA, self._operation.variable_definitions or (), dict(variables))
        if not isinstance(coerced, VariableValues):
            raise ErrorResponse.invalid(coerced)
        self._variables = coerced

    def requested(self, factor: int = 1) -> int:
        """The maximal cost, `factor` times what is expected.

        Raises:
            ErrorResponse: The cost or an argument exceeds Shopify's limit.
        """
        points = factor * self._requested(self._operation.selection_set, self._root)
        if points > MAX_POINTS:
            raise ErrorResponse.max_cost_exceeded(points, MAX_POINTS)
        return points

    def actual(self, data: Mapping[str, Any]) -> int:
        """The cost of the objects in the result."""
        return self._actual(self._operation.selection_set, self._root, data)

    def root_fields(self) -> list[tuple[FieldNode, GraphQLObjectType]]:
        """The fields of the operation, with the root type."""
        return [(field, self._root) for field, _ in self.fields(self._operation.selection_set, self._root)]

    def fields(
        self, selections: SelectionSetNode | None, parent: GraphQLCompositeType
    ) -> Iterator[tuple[FieldNode, GraphQLCompositeType]]:
        """The selected fields with fragments expanded, each with the type condition of its fragment."""
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                if not selection.name.value.startswith("__"):
                    yield selection, parent
                continue
            part: InlineFragmentNode | FragmentDefinitionNode
            if isinstance(selection, InlineFragmentNode):
                part = selection
            else:
                part = self._fragments[cast("FragmentSpreadNode", selection).name.value]
            condition = SCHEMA.get_type(part.type_condition.name.value) if part.type_condition else parent
            yield from self.fields(part.selection_set, cast("GraphQLCompositeType", condition))

    def _requested(self, selections: SelectionSetNode | None, type_: GraphQLCompositeType) -> int:
        if is_abstract_type(type_):
            return max(self._requested(selections, possible) for possible in SCHEMA.get_possible_types(type_))
        owner = cast("GraphQLObjectType", type_)
        fields = self.fields(selections, owner)
        return sum(
            self._requested_field(field, owner)
            for field, condition in fields
            if condition is owner or (is_abstract_type(condition) and SCHEMA.is_sub_type(condition, owner))
        )

    def _requested_field(self, field: FieldNode, owner: GraphQLObjectType) -> int:
        definition = owner.fields[field.name.value]
        arguments = self._arguments(field, owner)
        inner = get_named_type(definition.type)
        if is_leaf_type(inner):
            return 0
        if owner is SCHEMA.mutation_type:
            return _MUTATION
        type_ = cast("GraphQLCompositeType", inner)
        below = self._requested(field.selection_set, type_)
        if type_.name.endswith("Connection"):
            return _CONNECTION + _page_size(arguments) * below
        return len(arguments.get("ids", (None,))) * (_object_cost(type_) + below)

    def _arguments(self, field: FieldNode, owner: GraphQLObjectType) -> dict[str, Any]:
        try:
            arguments = get_argument_values(owner.fields[field.name.value], field, self._variables)
        except GraphQLError as error:
            raise ErrorResponse.invalid([error]) from None
        ids = arguments.get("ids", [arguments["id"]] if "id" in arguments else [])
        if len(ids) > MAX_IDS:
            message = f"The input array size of {len(ids)} is greater than the maximum allowed of {MAX_IDS}."
            raise ErrorResponse.with_code(message, "MAX_INPUT_SIZE_EXCEEDED")
        for value in ids:
            if not _GLOBAL_ID.fullmatch(value):
                raise ErrorResponse.with_code(f"Invalid global id '{value}'", "INVALID_VARIABLE")
        return arguments

    def _actual(self, selections: SelectionSetNode | None, type_: GraphQLCompositeType, data: Mapping[str, Any]) -> int:
        points = 0
        for field, condition in self.fields(selections, type_):
            value = data.get(field.alias.value if field.alias else field.name.value)
            inner = get_named_type(cast("GraphQLObjectType", condition).fields[field.name.value].type)
            if value is None or is_leaf_type(inner):
                continue
            if condition is SCHEMA.mutation_type:
                points += _MUTATION
                continue
            points += sum(
                _object_cost(cast("GraphQLCompositeType", inner))
                + self._actual(field.selection_set, cast("GraphQLCompositeType", inner), one)
                for one in (value if isinstance(value, list) else [value])
                if one is not None
            )
        return points


def _object_cost(type_: GraphQLCompositeType) -> int:
    if type_.name.endswith("Connection"):
        return _CONNECTION
    return 0 if _FREE.search(type_.name) else 1


def _page_size(arguments: Mapping[str, Any]) -> int:
    first = arguments.get("first")
    if first is None:
        raise ErrorResponse.with_code("you must provide one of first or last", "BAD_REQUEST")
    if not 0 <= first <= MAX_IDS:
        raise ErrorResponse.with_code(f"first must be between 0 and {MAX_IDS}", "BAD_REQUEST")
    return int(first)
