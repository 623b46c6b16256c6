"""The simulator as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse

from deployments.sandbox import refusals
from deployments.sandbox.hosts import LoopbackOnly
from deployments.sandbox.shopify import admin, control, shopping_control, storefront
from deployments.sandbox.shopify.faults import FaultKind
from deployments.sandbox.shopify.simulator import Options, Simulator


def create_app(options: Options | None = None) -> FastAPI:
    """Create the application; `app.state.simulator` is its simulator."""
    app = FastAPI(title="Shopify simulator", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.add_middleware(LoopbackOnly)
    refusals.register(app)
    app.state.simulator = Simulator(options or Options())
    app.include_router(admin.router)
    app.include_router(storefront.router)
    app.include_router(shopping_control.router)
    app.include_router(control.router)
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/health", _health)
    app.add_api_route("/shops", _shops)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with app.state.simulator.running():
        yield


async def _page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.html"), media_type="text/html")


async def _health() -> dict[str, str]:
    return {"status": "ok"}


async def _shops(simulator: admin.SimulatorDep) -> dict[str, Any]:
    shops = [
        {"domain": demo.domain, "name": demo.name, "currency": demo.currency, "plan": demo.plan}
        for demo in (shop.demo for shop in simulator.shops.values())
    ]
    return {"shops": shops, "fault_kinds": FaultKind.descriptions()}
