"""Bulk operations: validation by Shopify's rules, and execution in the background.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson
from graphql import DocumentNode, FieldNode, GraphQLCompositeType, get_named_type, is_leaf_type
from graphql.execution import execute_sync

from deployments.sandbox.shopify.nodes import Window
from deployments.sandbox.shopify.query_cost import QueryCost
from deployments.sandbox.shopify.schema import SCHEMA, parse_and_validate
from wishcraft.shopify.ids import to_global

MAX_CONNECTIONS: Final = 5
MAX_DEPTH: Final = 2
MAX_RUNNING: Final = 5
_WINDOW: Final = 250


@dataclass(slots=True)
class BulkOperation:
    """A bulk operation; `content` is its file."""

    number: int
    query: str
    group_objects: bool
    created_at: str
    status: str = "CREATED"
    completed_at: str | None = None
    error_code: str | None = None
    url: str | None = None
    objects: int = 0
    roots: int = 0
    content: bytearray = field(default_factory=bytearray)

    def node(self) -> dict[str, Any]:
        """The operation as a GraphQL object."""
        return {
            "__typename": "BulkOperation",
            "id": to_global("BulkOperation", self.number),
            "type": "QUERY",
            "query": self.query,
            "status": self.status,
            "createdAt": self.created_at,
            "completedAt": self.completed_at,
            "errorCode": self.error_code,
            "url": self.url,
            "partialDataUrl": None,
            "objectCount": str(self.objects),
            "rootObjectCount": str(self.roots),
            "fileSize": str(len(self.content)) if self.content else None,
        }


class BulkQuery:
    """A valid bulk query.

    Raises:
        ErrorResponse: The query is invalid GraphQL.
        ValueError: It violates a rule of bulk queries; the message is Shopify's.
    """

    def __init__(self, query: str) -> None:
        self._document: DocumentNode = parse_and_validate(query)
        self._selection = QueryCost(self._document, {})
        roots = self._selection.root_fields()
        if len(roots) != 1:
            raise ValueError("Bulk queries must have exactly one top-level field.")
        self._root, self._root_type = roots[0]
        if self._root.name.value in {"node", "nodes"}:
            raise ValueError("Bulk queries cannot use the top-level `node` and `nodes` fields.")
        depths = list(self._connection_depths(self._root, self._root_type, 0))
        if not depths:
            raise ValueError("Bulk queries must contain at least one connection.")
        if len(depths) > MAX_CONNECTIONS:
            raise ValueError(f"Bulk queries cannot contain more than {MAX_CONNECTIONS} connections.")
        if max(depths) > MAX_DEPTH:
            raise ValueError(f"Bulk queries cannot contain connections with a nesting depth greater than {MAX_DEPTH}.")
        if max(depths) > 1 and not self._parents_have_ids(self._root, self._root_type):
            raise ValueError("The parent of a nested connection must select `id`.")

    async def run(self, operation: BulkOperation, root_value: dict[str, Any]) -> None:
        """Write the file in windows of root objects; yields to requests between them."""
        for start in range(0, 1_000_000_000, _WINDOW):
            window = Window(start, _WINDOW)
            result = execute_sync(SCHEMA, self._document, root_value=root_value, context_value=window)
            key = self._root.alias.value if self._root.alias else self._root.name.value
            connection = (result.data or {}).get(key)
            records = list(self._records(self._root, self._root_type, connection, None)) if connection else []
            if not records:
                return
            operation.objects += len(records)
            operation.roots += sum("__parentId" not in record for record in records)
            if not operation.group_objects:
                records.sort(key=lambda record: "__parentId" in record)
            operation.content += b"".join(orjson.dumps(record) + b"\n" for record in records)
            await asyncio.sleep(0)

    def _connection_depths(self, node: FieldNode, owner: GraphQLCompositeType, depth: int) -> Iterator[int]:
        inner = _inner(node, owner)
        if inner is None:
            return
        if _is_connection(inner):
            depth += 1
            yield depth
        for below, condition in self._selection.fields(node.selection_set, inner):
            yield from self._connection_depths(below, condition, depth)

    def _parents_have_ids(self, root: FieldNode, owner: GraphQLCompositeType) -> bool:
        """Whether every object of the root connection selects its id."""
        connection = cast("GraphQLCompositeType", _inner(root, owner))
        parents = [node for node, _ in self._selection.fields(root.selection_set, connection)]
        edges = [node for node in parents if node.name.value == "edges"]
        parents += [below for edge in edges for below, _ in self._selection.fields(edge.selection_set, connection)]
        objects = [node for node in parents if node.name.value in {"node", "nodes"}]
        return all(
            any(
                below.name.value == "id" and not below.alias
                for below, _ in self._selection.fields(node.selection_set, connection)
            )
            for node in objects
        )

    def _records(
        self, node: FieldNode, owner: GraphQLCompositeType, connection: dict[str, Any], parent: str | None
    ) -> Iterator[dict[str, Any]]:
        """The objects of a connection as records: without nested connections, each object after its parent."""
        type_ = cast("GraphQLCompositeType", _inner(node, owner))
        for part, condition in self._selection.fields(node.selection_set, type_):
            objects = connection[part.name.value]
            part_type = cast("GraphQLCompositeType", _inner(part, condition))
            if part.name.value == "nodes":
                for one in objects:
                    yield from self._record(part, part_type, one, parent)
            elif part.name.value == "edges":
                for below, _ in self._selection.fields(part.selection_set, part_type):
                    for edge in objects if below.name.value == "node" else ():
                        below_type = cast("GraphQLCompositeType", _inner(below, part_type))
                        yield from self._record(below, below_type, edge["node"], parent)

    def _record(
        self, node: FieldNode, type_: GraphQLCompositeType, found: dict[str, Any], parent: str | None
    ) -> Iterator[dict[str, Any]]:
        children = list(self._pop_connections(node, type_, found))
        yield found if parent is None else {**found, "__parentId": parent}
        for below, condition, connection in children:
            yield from self._records(below, condition, connection, found["id"])

    def _pop_connections(
        self, node: FieldNode, type_: GraphQLCompositeType, found: dict[str, Any]
    ) -> Iterator[tuple[FieldNode, GraphQLCompositeType, dict[str, Any]]]:
        """Remove the connections from an object and its nested objects, and yield them."""
        for below, condition in self._selection.fields(node.selection_set, type_):
            inner = _inner(below, condition)
            key = below.alias.value if below.alias else below.name.value
            if inner is not None and _is_connection(inner):
                yield below, condition, found.pop(key)
            elif inner is not None and isinstance(found[key], dict):
                yield from self._pop_connections(below, inner, found[key])


def _inner(node: FieldNode, owner: GraphQLCompositeType) -> GraphQLCompositeType | None:
    """The object type of a field; None for scalars."""
    fields = getattr(owner, "fields", {})
    inner = get_named_type(fields[node.name.value].type)
    return None if is_leaf_type(inner) else cast("GraphQLCompositeType", inner)


def _is_connection(type_: GraphQLCompositeType) -> bool:
    return type_.name.endswith("Connection")
