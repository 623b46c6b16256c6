"""The FastAPI application: routers, error handlers, CORS and lifespan. No business logic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from api import documentation, problems
from api.fast_path import FastPath
from api.middleware.request import RequestMiddleware
from api.routes import (
    admin,
    app_home,
    files,
    guests,
    health,
    invitations,
    item_lists,
    items,
    mail_events,
    metrics,
    products,
    registries,
    registry_changes,
    registry_page,
    unsubscribe,
    webhooks,
)
from api.state import open_app_state
from wishcraft.settings import Settings
from wishcraft.settings import settings as from_environment


def create_service(app: FastAPI) -> ASGIApp:
    """The ASGI application behind the fast path: CORS, request middleware, then FastAPI.

    CORS comes before the request middleware, so that pages can read its refusals too.
    """
    service = RequestMiddleware(app, app.state)
    if origins := app.state.settings.cors_origins:
        return _allow_cors(service, [origin.strip() for origin in origins.split(",")])
    return service


def create_app(settings: Settings | None = None) -> FastAPI:
    """The FastAPI application with these settings, or the environment's."""
    settings = settings or from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_app_state(settings) as app_state:
            app.state.app_state, app.state.fast_path = app_state, FastPath(app_state)
            yield

    app = FastAPI(
        title="WishCraft",
        version=version("wishcraft"),
        summary="Gift registries for Shopify storefronts.",
        description=documentation.DESCRIPTION,
        openapi_tags=documentation.TAGS,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect repeats the request's Host and its signature
        openapi_url=None,  # `documentation` serves it
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # Sentry and Prometheus have them
    )
    app.state.settings = settings
    problems.register(app)
    documentation.register(app)
    modules = [
        registries,
        webhooks,  # hundreds a second, and a route costs those before it
        registry_changes,
        registry_page,
        item_lists,
        items,
        products,
        guests,
        admin,
        app_home,
        invitations,
        unsubscribe,
        mail_events,
        files,
        health,
        metrics,
    ]
    if settings.start_page and settings.environment != "production":  # it alone needs what renders Markdown
        from api.routes import local_docs, start_page

        modules += [start_page, local_docs]
    for module in modules:
        # Not included: FastAPI would look for the route twice, and each time in a context of its own.
        app.router.routes += module.router.routes

    @app.get("/admin/jobs", include_in_schema=False)
    async def jobs() -> RedirectResponse:
        if settings.prefect_ui_url is None:
            raise problems.not_found("PREFECT_UI_URL is not set. Set it to redirect to the Prefect UI.")
        return RedirectResponse(f"{settings.prefect_ui_url}/v2/deployments")

    app.state.routes = [route for route in app.routes if isinstance(route, Route)]
    return app


def _allow_cors(app: ASGIApp, origins: list[str]) -> CORSMiddleware:
    """Allow pages of these origins to call the API and to read its headers."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
                       "X-API-Key", "X-Customer-Id", "X-Registry-Grant"],
        expose_headers=["ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Cache",
                        "X-Request-Id"],
        max_age=600,
    )  # fmt: skip
