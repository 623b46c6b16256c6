"""The API's own documentation: OpenAPI, and Swagger UI with every asset served from here."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

OPENAPI_PATH: Final = "/api/docs"
_ASSETS_PATH: Final = "/api/docs/assets"
_ASSETS: Final = Path(str(files("fastapi_swagger") / "resources"))


def register(app: FastAPI) -> None:
    """Serve Swagger UI at `/api/docs/ui`."""
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
        return page
