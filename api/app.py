"""The application: routers, error mapping and what lives as long as the process. No business here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from api import documentation, health, problems, registries, unsubscribe
from api.callers import Callers
from wishcraft.resources import open_resources
from wishcraft.settings import Settings
from wishcraft.settings import settings as from_environment


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the stores that the settings name; the environment's settings if none are given."""
    settings = settings or from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources:
            app.state.resources = resources
            app.state.callers = Callers(resources, settings)
            yield

    app = FastAPI(
        title="WishCraft",
        version=version("wishcraft"),
        description="Gift registries for Shopify storefronts.",
        lifespan=lifespan,
        openapi_url=documentation.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    problems.register(app)
    documentation.register(app)
    app.include_router(registries.router)
    app.include_router(unsubscribe.router)
    app.include_router(health.router)

    @app.get("/admin/jobs", include_in_schema=False)
    async def jobs() -> RedirectResponse:
        if settings.prefect_ui_url is None:
            raise problems.not_found("PREFECT_UI_URL is not set: the jobs live in the Prefect UI.")
        return RedirectResponse(f"{settings.prefect_ui_url}/deployments")

    return app
