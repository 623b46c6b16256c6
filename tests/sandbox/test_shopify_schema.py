"""The simulator's schema and the client's queries against the official schema of Admin GraphQL 2026-10."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    IntrospectionQuery,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_client_schema,
    build_schema,
    is_introspection_type,
    is_required_argument,
    is_specified_scalar_type,
    parse,
    print_schema,
    validate,
    visit,
)

from deployments.sandbox.processes import ROOT
from deployments.sandbox.shopify.schema import SCHEMA
from tests.support.optional import skip_or_fail
from wishcraft.shopify.client import SCOPES
from wishcraft.shopify.graphql_queries import QUERIES

OWN_TYPES = [
    type_ for type_ in SCHEMA.type_map.values() if not (is_introspection_type(type_) or is_specified_scalar_type(type_))
]


@pytest.fixture(scope="module")
def introspection() -> dict[str, Any]:
    default = ROOT / ".wishcraft" / "admin_2026-10.json.gz"
    file = Path(os.environ.get("SHOPIFY_SCHEMA", default))
    if not file.exists():
        skip_or_fail("schema", f"Shopify's schema is not at {file}: set SHOPIFY_SCHEMA to admin_2026-10.json.gz")
    found: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))["data"]
    return found


@pytest.fixture(scope="module")
def official(introspection: dict[str, Any]) -> GraphQLSchema:
    # It violates a rule on deprecations of interfaces.
    return build_client_schema(cast("IntrospectionQuery", introspection), assume_valid=True)


@pytest.mark.parametrize("name", [type_.name for type_ in OWN_TYPES])
def test_simulator_type_is_part_of_the_official_type(name: str, official: GraphQLSchema) -> None:
    assert list(differences(name, official)) == []


def test_root_types_are_the_official_ones(official: GraphQLSchema) -> None:
    assert str(SCHEMA.query_type) == str(official.query_type)
    assert str(SCHEMA.mutation_type) == str(official.mutation_type)


@pytest.mark.parametrize("document", QUERIES)
def test_client_query_is_valid_for_the_official_schema(document: str, official: GraphQLSchema) -> None:
    assert validate(official, parse(document)) == []


@pytest.mark.parametrize("document", QUERIES)
def test_client_query_is_valid_for_the_simulator_schema(document: str) -> None:
    assert validate(SCHEMA, parse(document)) == []


class Fields(Visitor):
    """The fields of a document, each with its type; an empty name for the type itself."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self.found = set[tuple[str, str]]()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        parent = self._types.get_parent_type()
        assert parent
        self.found |= {(parent.name, node.name.value), (parent.name, "")}


@pytest.mark.parametrize("document", QUERIES)
def test_client_query_needs_no_scope_that_the_app_does_not_have(
    document: str, official: GraphQLSchema, introspection: dict[str, Any]
) -> None:
    types = {each["name"]: each for each in introspection["__schema"]["types"]}
    needs = {(name, ""): each.get("requiredAccess") for name, each in types.items()}
    needs |= {(name, f["name"]): f["requiredAccess"] for name, each in types.items() for f in each["fields"] or ()}
    info = TypeInfo(official)
    fields = Fields(info)
    visit(parse(document), TypeInfoVisitor(info, fields))
    scopes = {field: set(re.findall("`([a-z_]+)`", needs.get(field) or "")) for field in fields.found}
    assert {field: any_of for field, any_of in scopes.items() if any_of and not any_of & SCOPES} == {}
    assert needs["InventoryItem", "inventoryLevels"] == "`read_inventory` access scope."  # the schema says so at all


@pytest.mark.parametrize(
    ("there", "altered", "noticed"),
    [
        (
            "inventoryQuantity: Int",
            "inventoryQuantity: Int!",
            "ProductVariant.inventoryQuantity: Int! is officially Int",
        ),
        ("sellableOnlineQuantity", "sellable", "ProductVariant.sellable is not an official field"),
        ("(names: [String!]!)", "", "InventoryLevel.quantities(names) is required"),
        ("nodes(ids: [ID!]!)", "nodes(ids: [ID!]!, of: Int)", "QueryRoot.nodes(of) is not an official argument"),
        ("groupObjects: Boolean! = false", "groupObjects: Boolean", "is officially Boolean!"),
        ("  UNLISTED", "  HIDDEN", "ProductStatus.HIDDEN"),
        ("PageInfo", "Pages", "Pages is not an official type"),
        ("scalar Money", "enum Money { USD }", "Money is of another kind"),
        ("type PageInfo {", "type PageInfo implements Node { id: ID!", "PageInfo does not implement Node"),
    ],
)
def test_schema_difference_is_detected(there: str, altered: str, noticed: str, official: GraphQLSchema) -> None:
    sdl = print_schema(SCHEMA)
    assert there in sdl
    ours = build_schema(sdl.replace(there, altered))
    found = [line for name in ours.type_map for line in differences(name, official, ours)]
    assert any(noticed in line for line in found), found


def differences(name: str, official: GraphQLSchema, simulated: GraphQLSchema = SCHEMA) -> Iterator[str]:
    """Differences of a simulated type from the official one."""
    ours, theirs = simulated.type_map[name], official.type_map.get(name)
    if theirs is None:
        yield f"{name} is not an official type"
    elif type(ours) is not type(theirs):
        yield f"{name} is of another kind"
    elif isinstance(ours, GraphQLEnumType) and isinstance(theirs, GraphQLEnumType):
        yield from (f"{name}.{value}" for value in ours.values.keys() - theirs.values.keys())
    elif isinstance(ours, GraphQLObjectType | GraphQLInterfaceType):
        assert isinstance(theirs, GraphQLObjectType | GraphQLInterfaceType)
        interfaces = {one.name for one in ours.interfaces} - {one.name for one in theirs.interfaces}
        yield from (f"{name} does not implement {one}" for one in interfaces)
        yield from field_differences(ours, theirs)


def field_differences(
    ours: GraphQLObjectType | GraphQLInterfaceType, theirs: GraphQLObjectType | GraphQLInterfaceType
) -> Iterator[str]:
    for name, field in ours.fields.items():
        where, other = f"{ours.name}.{name}", theirs.fields.get(name)
        if other is None:
            yield f"{where} is not an official field"
            continue
        if str(field.type) != str(other.type):
            yield f"{where}: {field.type} is officially {other.type}"
        required = {argument for argument, value in other.args.items() if is_required_argument(value)}
        yield from (f"{where}({argument}) is required" for argument in required - field.args.keys())
        for argument, value in field.args.items():
            yield from argument_differences(f"{where}({argument})", value, other.args.get(argument))


def argument_differences(where: str, ours: GraphQLArgument, theirs: GraphQLArgument | None) -> Iterator[str]:
    if theirs is None:
        yield f"{where} is not an official argument"
    elif str(ours.type) != str(theirs.type):
        yield f"{where}: {ours.type} is officially {theirs.type}"
    elif is_required_argument(ours) != is_required_argument(theirs):
        yield f"{where} differs in having a default"
