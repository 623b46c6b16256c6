"""OpenAPI, and Swagger UI with assets that the API itself serves."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api.problem_kinds import kinds_table
from api.problems import Problem
from api.schemas.requests import ChangedEvent, ChangedItem, ChangedRegistry, ChangedSettings

OPENAPI_PATH: Final = "/api/docs"
_STORIES: Final = (files("api") / "templates" / "stories.md").read_text("utf-8")
_HEAD: Final = (files("api") / "templates" / "swagger_head.html").read_bytes()
"""Makes Swagger UI as narrow as a phone, and dark where the browser is."""
_FOOT: Final = (files("api") / "templates" / "swagger_foot.html").read_bytes()
"""Makes its forms follow the registry, and the item of it, that was created, read or changed last."""
DESCRIPTION: Final = f"""
A registry is a list of gifts for one event, in one shop. To try a request here: *Authorize* with an API key, open an
operation, *Execute*. In the local stack, the start page (`/`) has a key of each demo shop; the values that are filled
in belong to the first shop, and then to the registry that you have created, read or changed last, and to its item that
you have added or changed last. A form that deletes has `If-Match` filled in, but not what to delete: enter `ref`, and
the `item_id` of an item, yourself.

**Authentication.** A server sends its shop's API key in `X-API-Key`; with scope `write` it acts for the customer that
it names in `X-Customer-Id`. A storefront calls through Shopify's app proxy, which signs the query and names the
logged-in customer. The embedded admin sends its ID token.

**Changes** are conditional: read the registry, and send its `ETag` in `If-Match`. **Creations** take an
`Idempotency-Key`: repeating a request with the same key creates nothing more.

**Errors** are `application/problem+json` (RFC 9457); `type` is `urn:wishcraft:problem:` and a kind, `detail` says what
to do, and `errors` of a 422 has each invalid value with its place. Each operation lists its kinds; any may also answer
`bad-request`, `method-not-allowed`, `request-header-fields-too-large` and `internal`.

<details><summary><b>Problems: what they mean and what to do</b></summary>

{kinds_table()}

</details>

{_STORIES}
"""
TAGS: Final = [
    {"name": "registries", "description": "Registries: lists, one with its items, creation and changes."},
    {"name": "items", "description": "Items of a registry."},
    {"name": "products", "description": "What the shop sells."},
    {"name": "guests", "description": "What guests do: unlock a registry, look, click."},
    {"name": "admin", "description": "For the shop's administrator: keys, usage, settings, audit log."},
    {"name": "mail", "description": "The pages behind the links in mails."},
    {"name": "webhooks", "description": "For Shopify and for mail providers alone."},
    {"name": "operations", "description": "For who operates the service."},
    {"name": "health", "description": "Health probes."},
]
_ONE_OR_NULL: Final = 2
_VALUES: Final = frozenset({"example", "examples", "default", "enum"})
"""Keywords of a schema that have values."""
_ASSETS_PATH: Final = "/api/docs/assets"
_PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " frame-ancestors 'none'"
)
_ASSETS: Final = Path(str(files("fastapi_swagger") / "resources"))


def _simplify(schema: Any) -> None:
    """Write `string or null` as a list of types, here and in all parts."""
    if isinstance(schema, list):
        for each in schema:
            _simplify(each)
    if not isinstance(schema, dict):
        return
    kinds = schema.get("anyOf", ())
    simple = [kind for kind in kinds if isinstance(kind, dict) and isinstance(kind.get("type"), str)]
    if len(simple) == len(kinds) == _ONE_OR_NULL and simple[1] == {"type": "null"}:
        del schema["anyOf"]
        schema |= simple[0] | schema | {"type": [simple[0]["type"], "null"]}
    for name, part in schema.items():
        if name not in _VALUES:
            _simplify(part)


def _correct(parameter: dict[str, Any], method: str, responses: Mapping[str, object]) -> None:
    """Describe a parameter as it is sent: it may be left out but not be null. 428 means that If-Match is required.

    *Try it out* fills in the example of what is required. What to delete is for people to choose.
    """
    schema = parameter["schema"]
    for kind in schema.pop("anyOf", []):
        if kind != {"type": "null"}:
            schema |= kind
    if parameter["name"] == "If-Match":
        parameter["required"] = str(int(HTTPStatus.PRECONDITION_REQUIRED)) in responses
    if parameter["required"] and not (method == "delete" and parameter["in"] == "path"):
        parameter["example"] = schema["examples"][0]


def _correct_change(schema: dict[str, Any]) -> None:
    """A field of a change that is left out keeps its value: it has no default."""
    for field in schema["properties"].values():
        field.pop("default", None)


def register(app: FastAPI) -> None:
    """Serve Swagger UI at `/api/docs/ui`, and add the schema of problems to OpenAPI."""
    describe = app.openapi

    def describe_with_problems() -> dict[str, Any]:
        document = describe()
        schemas = document["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"Problem": problem}
        for change in (ChangedEvent, ChangedRegistry, ChangedItem, ChangedSettings):
            _correct_change(schemas[change.__name__])
        for item in document["paths"].values():
            for method, operation in item.items():
                for parameter in operation.get("parameters", ()):
                    _correct(parameter, method, operation["responses"])
        _simplify(document)
        return document

    app.openapi = describe_with_problems  # type: ignore[method-assign]  # as FastAPI's documentation extends OpenAPI

    @cache
    def document() -> bytes:
        return orjson.dumps(app.openapi())

    @app.get(OPENAPI_PATH, include_in_schema=False)
    async def openapi() -> Response:
        """The document, made once: anyone may ask for it, and to write it takes as long as to answer 300 reads."""
        return Response(document(), media_type="application/json")

    app.mount(_ASSETS_PATH, StaticFiles(directory=_ASSETS), name="swagger")
    page = get_swagger_ui_html(
        openapi_url=OPENAPI_PATH,
        title=f"{app.title}: API",
        swagger_js_url=f"{_ASSETS_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS_PATH}/favicon-32x32.png",
        swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
    )
    body = bytes(page.body).replace(b"</head>", _HEAD + b"</head>", 1).replace(b"</body>", _FOOT + b"</body>", 1)

    @app.get("/api/docs/ui", include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        return HTMLResponse(body, headers={"Content-Security-Policy": _PAGE_POLICY, "Referrer-Policy": "no-referrer"})
