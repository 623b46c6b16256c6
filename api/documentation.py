"""OpenAPI, and Swagger UI with assets that the API itself serves."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api.problems import Problem
from api.schemas.requests import ChangedEvent, ChangedItem, ChangedRegistry, ChangedSettings

OPENAPI_PATH: Final = "/api/docs"
DESCRIPTION: Final = """
**Authentication.** A server sends its shop's API key in `X-API-Key`; with scope `write` it acts for the customer that
it names in `X-Customer-Id`. A storefront calls through Shopify's app proxy, which signs the query and names the
logged-in customer. The embedded admin sends its ID token. In the sandbox, `make up` prints an API key: paste it under
*Authorize* to use *Try it out*.

**Changes** are conditional: read the registry, and send its `ETag` in `If-Match`. **Creations** take an
`Idempotency-Key`: repeating a request with the same key creates nothing more.

**Errors** are `application/problem+json` (RFC 9457); `type` names the kind and never changes, and `errors` of a 422 has
each invalid value with its place. `RateLimit` says how many requests are left. 429 and 503 say in `Retry-After` how
many seconds to wait.
"""
EXAMPLE_CUSTOMER: Final = 7_100_000_000_009
"""No demo shop has a registry of this customer, whom *Try it out* offers for writes."""
_OF_CUSTOMERS: Final = "/api/registries"
_ASSETS_PATH: Final = "/api/docs/assets"
_PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " frame-ancestors 'none'"
)
_ASSETS: Final = Path(str(files("fastapi_swagger") / "resources"))


def _correct(parameter: dict[str, Any], responses: Mapping[str, object]) -> None:
    """Describe a parameter as it is sent: it may be left out but not be null. 428 means that If-Match is required."""
    kinds = parameter["schema"].pop("anyOf", [])
    for kind in kinds:
        if kind != {"type": "null"}:
            parameter["schema"] |= kind
    if parameter["name"] == "If-Match":
        parameter["required"] = str(int(HTTPStatus.PRECONDITION_REQUIRED)) in responses


def _offer(path: str, method: str, parameters: Iterable[dict[str, Any]]) -> None:
    """Examples with which *Try it out* works as offered: a customer for what needs one, and any version for If-Match.

    A key without the scope `write` may name no customer, so requests that it can send have none.
    """
    for parameter in parameters:
        if parameter["name"] == "If-Match" and parameter["required"]:
            parameter["example"] = "*"
        if parameter["name"] == "X-Customer-Id" and path.startswith(_OF_CUSTOMERS) and method != "get":
            parameter["example"] = EXAMPLE_CUSTOMER


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
        for path, item in document["paths"].items():
            for method, operation in item.items():
                for parameter in operation.get("parameters", ()):
                    _correct(parameter, operation["responses"])
                _offer(path, method, operation.get("parameters", ()))
        return document

    app.openapi = describe_with_problems  # type: ignore[method-assign]  # as FastAPI's documentation extends OpenAPI
    app.mount(_ASSETS_PATH, StaticFiles(directory=_ASSETS), name="swagger")
    page = get_swagger_ui_html(
        openapi_url=OPENAPI_PATH,
        title=f"{app.title}: API",
        swagger_js_url=f"{_ASSETS_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS_PATH}/favicon-32x32.png",
        swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
    )

    @app.get("/api/docs/ui", include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        return HTMLResponse(
            page.body, headers={"Content-Security-Policy": _PAGE_POLICY, "Referrer-Policy": "no-referrer"}
        )
