"""OpenAPI describes every field, parameter, header and response, with examples that are valid and work."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import httpx
import jsonschema_rs
import pytest

from api.app import create_app
from api.schemas.demo import DEMO_CUSTOMER, DEMO_ITEM, DEMO_REF, DEMO_VARIANTS
from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.demo import DEFAULT_SEED
from deployments.sandbox.demo_rows import ShopRowGenerator
from tests.support.aliases import Demo
from wishcraft.settings import Settings

Schema = dict[str, Any]
USES_CUSTOMER: Final = {
    "GET /api/my-registries", "POST /api/registries", "GET /api/registries/{ref}", "PATCH /api/registries/{ref}",
    "DELETE /api/registries/{ref}", "GET /api/registries/{ref}/items", "POST /api/registries/{ref}/items",
    "PATCH /api/registries/{ref}/items/{item_id}", "DELETE /api/registries/{ref}/items/{item_id}",
    "POST /api/registries/{ref}/events", "GET /api/r/{ref}", "POST /api/r/{ref}",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(base_settings: Settings) -> Schema:
    """The OpenAPI document."""
    return create_app(base_settings).openapi()


def operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Each operation, with its method and path."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolve(document: Schema, schema: Schema) -> Schema:
    """The schema that a reference names."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Schema = document["components"]["schemas"][name] if name else schema
    return found


def errors(document: Schema, schema: Schema, value: object) -> list[str]:
    """The parts of the value that do not fit the schema."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"]}
    return [error.message for error in jsonschema_rs.validator_for(whole | schema).iter_errors(value)]


def test_every_schema_and_every_property_has_a_description(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    assert len(schemas) > 30
    assert not [name for name, schema in schemas.items() if not schema.get("description")]
    properties = [
        (name, key, each) for name, schema in schemas.items() for key, each in schema.get("properties", {}).items()
    ]
    assert len(properties) > 150
    bare = [
        (name, key)
        for name, key, each in properties
        if not each.get("description") and not ("$ref" in each and resolve(document, each).get("description"))
    ]
    assert not bare


def test_every_parameter_header_and_response_has_a_description(document: Schema) -> None:
    bare = []
    for what, operation in operations(document):
        bare += [(what, each["name"]) for each in operation.get("parameters", ()) if not each.get("description")]
        for status, response in operation["responses"].items():
            if response["description"] in {"", "Successful Response"}:
                bare.append((what, status))
            bare += [(what, name) for name, each in response.get("headers", {}).items() if not each.get("description")]
    assert not bare


def test_every_parameter_and_header_has_an_example_that_is_valid(document: Schema) -> None:
    wrong = []
    for what, operation in operations(document):
        headers = [
            ({"name": name, **header})
            for each in operation["responses"].values()
            for name, header in each.get("headers", {}).items()
        ]
        for each in [*operation.get("parameters", ()), *headers]:
            examples = [*([each["example"]] if "example" in each else []), *each["schema"].get("examples", ())]
            wrong += [(what, each["name"], "none")] if not examples else []
            wrong += [
                (what, each["name"], error) for value in examples for error in errors(document, each["schema"], value)
            ]
    assert not wrong


def test_every_example_of_a_schema_is_valid(document: Schema) -> None:
    examples = []
    for name, schema in document["components"]["schemas"].items():
        examples += [(name, schema, value) for value in schema.get("examples", ())]
        for key, field in schema.get("properties", {}).items():
            examples += [(f"{name}.{key}", field, value) for value in field.get("examples", ())]
    assert len(examples) > 80
    assert not [(name, found) for name, schema, value in examples if (found := errors(document, schema, value))]


def test_every_example_of_a_body_is_valid(document: Schema) -> None:
    bodies = 0
    for what, operation in operations(document):
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (each for part in contents for each in part.get("content", {}).values()):
            for example in content.get("examples", {}).values():
                assert not errors(document, content["schema"], example["value"]), what
                bodies += 1
    assert bodies > 200


def test_null_is_one_of_the_types_of_a_simple_value(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["OwnRegistry"]["properties"]["event_location"]["type"] == ["string", "null"]
    for name, schema in schemas.items():
        for key, field in schema.get("properties", {}).items():
            if "anyOf" in field:
                assert any("$ref" in kind for kind in field["anyOf"]), (name, key)


def test_id_of_shopify_is_a_number_or_a_text(document: Schema) -> None:
    variant = document["components"]["schemas"]["NewItem"]["properties"]["variant_id"]
    parameters = document["paths"]["/api/registries"]["post"]["parameters"]
    (customer,) = (each["schema"] for each in parameters if each["name"] == "X-Customer-Id")
    for schema, kind in ((variant, "ProductVariant"), (customer, "Customer")):
        for accepted in (1, "1", f"gid://shopify/{kind}/1"):
            assert not errors(document, schema, accepted)
        for refused in (0, True, 1.5, None, "x", "gid://shopify/Product/1"):
            assert errors(document, schema, refused), refused


def test_customer_is_named_only_where_it_is_used(document: Schema) -> None:
    named = {
        what
        for what, operation in operations(document)
        if any(each["name"] == "X-Customer-Id" for each in operation.get("parameters", ()))
    }
    assert named == USES_CUSTOMER


OFFERED: Final = [
    ("GET /api/registries", 200), ("GET /api/my-registries", 200), ("GET /api/registries/{ref}", 200),
    ("GET /api/registries/{ref}/items", 200), ("GET /api/products", 200), ("GET /api/admin/keys", 200),
    ("GET /api/admin/usage", 200), ("GET /api/admin/settings", 200), ("GET /api/admin/audit", 200),
    ("POST /api/registries", 201), ("PATCH /api/registries/{ref}", 200), ("POST /api/registries/{ref}/items", 201),
    ("PATCH /api/registries/{ref}/items/{item_id}", 200), ("POST /api/registries/{ref}/events", 202),
    ("POST /api/admin/keys", 201), ("PATCH /api/admin/settings", 200),
]  # fmt: skip


@pytest.mark.parametrize(("what", "expected"), OFFERED)
async def test_request_works_as_swagger_ui_offers_it(
    document: Schema, client: httpx.AsyncClient, demo: Demo, key: dict[str, str], what: str, expected: int
) -> None:
    """Each example of the body, with the parameters that are filled in."""
    # The tests' demo data have another seed, and so another name in the slug.
    demo.execute("UPDATE registries SET slug = %s WHERE customer_id = %s", [DEMO_REF, DEMO_CUSTOMER])
    operation = dict(operations(document))[what]
    method, path = what.split(" ")
    given = {"path": {}, "query": {}, "header": dict(key)}
    for each in operation.get("parameters", ()):
        if "example" in each:
            value = each["example"]
            given[each["in"]][each["name"]] = str(value[0] if isinstance(value, list) else value)
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    bodies = [each["value"] for each in content.get("examples", {}).values()] or [None]
    for body in bodies:
        answer = await client.request(
            method, path.format(**given["path"]), params=given["query"], headers=given["header"], json=body
        )
        assert answer.status_code == expected, (body, answer.text)


def test_examples_name_what_the_first_demo_shop_has() -> None:
    generator = ShopRowGenerator(DEMO_SHOPS[0], DEFAULT_SEED, date(2027, 3, 1), 100_000_000, 160, "http://shop.example")
    rows = generator.generate(range(1))
    [registry] = rows.registries
    assert (registry["slug"], registry["customer_id"]) == (DEMO_REF, DEMO_CUSTOMER)
    items = {item["id"]: item["variant_id"] for item in rows.items}
    assert DEMO_ITEM in items
    assert not set(DEMO_VARIANTS) & set(items.values())
