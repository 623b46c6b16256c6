"""The application: routers, error mapping and what lives as long as the process. No business here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import RedirectResponse

from api import documentation, problems
from api.fast_path import FastPath
from api.middleware.request import RequestMiddleware
from api.routes import admin, guests, health, items, metrics, registries, registry_changes, unsubscribe
from api.state import open_app_state
from wishcraft.settings import Settings
from wishcraft.settings import settings as from_environment


def create_service(app: FastAPI) -> FastPath:
    """What is served: the application behind its edge."""
    return FastPath(RequestMiddleware(app, app.state), app.state)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the stores that the settings name; the environment's settings if none are given."""
    settings = settings or from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_app_state(settings) as serving:
            app.state.serving = serving
            app.state.resources = serving.resources
            yield

    app = FastAPI(
        title="WishCraft",
        version=version("wishcraft"),
        summary="Gift registries for Shopify storefronts.",
        description=documentation.DESCRIPTION,
        lifespan=lifespan,
        openapi_url=documentation.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.draining = False
    problems.register(app)
    documentation.register(app)
    for part in (registries, registry_changes, items, guests, admin, unsubscribe, health, metrics):
        app.include_router(part.router)
    if settings.cors_origins:
        _let_other_sites_call(app, [origin.strip() for origin in settings.cors_origins.split(",")])

    @app.get("/admin/jobs", include_in_schema=False)
    async def jobs() -> RedirectResponse:
        if settings.prefect_ui_url is None:
            raise problems.not_found("PREFECT_UI_URL is not set: the jobs live in the Prefect UI.")
        return RedirectResponse(f"{settings.prefect_ui_url}/v2/deployments")

    return app


def _let_other_sites_call(app: FastAPI, origins: list[str]) -> None:
    """CORS: pages of these sites may call from a browser, and see what tells them how to go on."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
                       "X-API-Key", "X-Customer-Id", "X-Registry-Grant"],
        expose_headers=["ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Cache"],
        max_age=600,
    )  # fmt: skip
