"""The page of the dashboard: the page itself, and JSON for its script. It changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from deployments.monitoring.configuration import DASHBOARD
from deployments.sandbox.hosts import LoopbackOnly
from deployments.sandbox.monitoring.dashboard import Dashboard, Panel, read_dashboard, step_of
from deployments.sandbox.monitoring.prometheus import Prometheus, PrometheusError, Range, Series

RANGES: Final = {"15 min": 900, "1 h": 3_600, "6 h": 21_600, "24 h": 86_400}
"""The ranges of time that the page offers, in seconds."""
_FILES: Final = {"page.html": "text/html", "page.js": "text/javascript", "charts.js": "text/javascript"}
_SECURITY: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs of Prometheus, Alertmanager and the runbooks."""

    prometheus: str
    alertmanager: str
    runbooks: str

    def runbook(self, path: str) -> str:
        """The URL of the runbook with this path or name."""
        return f"{self.runbooks.rstrip('/')}/{path.rpartition('/')[2]}"


def create_app(addresses: Addresses, file: Path = DASHBOARD) -> FastAPI:
    """Create the application that draws the dashboard in `file`."""
    dashboard, prometheus = read_dashboard(file), Prometheus(addresses.prometheus)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await prometheus.aclose()

    app = FastAPI(title="Monitoring", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(LoopbackOnly)
    app.add_exception_handler(PrometheusError, _refuse)
    _add_page(app)
    _add_data(app, addresses, dashboard, prometheus)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 502)


def _add_page(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/")
    async def page() -> FileResponse:
        return _file("page.html")

    @app.get("/{name}.js")
    async def script(name: str) -> FileResponse:
        if f"{name}.js" not in _FILES:
            raise HTTPException(404, "no such script")
        return _file(f"{name}.js")


def _file(name: str) -> FileResponse:
    return FileResponse(Path(__file__).with_name(name), media_type=_FILES[name], headers=_SECURITY)


def _add_data(app: FastAPI, addresses: Addresses, dashboard: Dashboard, prometheus: Prometheus) -> None:
    @app.get("/dashboard")
    async def describe() -> dict[str, Any]:
        """The rows and panels of the dashboard, without data, and what one can choose."""
        rows = [
            {"title": row.title, "panels": [_described(panel, addresses) for panel in row.panels]}
            for row in dashboard.rows
        ]
        links = {"prometheus": addresses.prometheus, "alertmanager": addresses.alertmanager}
        return {"title": dashboard.title, "rows": rows, "ranges": RANGES, "links": links}

    @app.get("/shops")
    async def shops() -> list[str]:
        """The shops that have metrics."""
        return await prometheus.label_values("wishcraft_shop_entries", "shop")

    @app.get("/panels/{number}")
    async def panel(
        number: int, seconds: Annotated[int, Query(ge=60, le=15 * 86_400)] = 3_600, shop: str | None = None
    ) -> dict[str, Any]:
        """The series of a panel, over the last `seconds` or now, of one shop or of all."""
        found = dashboard.panel(number)
        if found is None:
            raise HTTPException(404, "no such panel")
        over = Range.until(time.time(), seconds, step_of(seconds))
        return {"start": over.start, "step": over.step, "series": await _read(prometheus, found, over, shop)}

    @app.get("/alerts")
    async def alerts() -> dict[str, Any]:
        """The firing alerts, then the pending ones, `page` first; and how many rules are evaluated."""
        active, rules = await asyncio.gather(prometheus.alerts(), prometheus.rules())
        described = [_alert(each, addresses) for each in active]
        described.sort(key=lambda each: (each["state"] != "firing", each["severity"] != "page", each["since"]))
        broken = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] == "err"]
        return {"alerts": described, "rules": len(rules), "broken": broken}


def _described(panel: Panel, addresses: Addresses) -> dict[str, Any]:
    runbooks = [addresses.runbook(name) for name in panel.style["runbooks"]]
    return {"id": panel.id, "title": panel.title, "kind": panel.kind, **panel.style, "runbooks": runbooks}


def _alert(alert: dict[str, Any], addresses: Addresses) -> dict[str, Any]:
    labels, texts = alert["labels"], alert["annotations"]
    return {
        "name": labels["alertname"],
        "severity": labels["severity"],
        "state": alert["state"],
        "summary": texts["summary"],
        "description": texts["description"],
        "since": alert["activeAt"],
        "runbook": addresses.runbook(texts["runbook"]),
    }


async def _read(prometheus: Prometheus, panel: Panel, over: Range, shop: str | None) -> list[dict[str, Any]]:
    """The series of all queries of a panel, in their order, with names and the colours that the dashboard sets."""
    expressions = [query.filled(shop, over.step) for query in panel.queries]
    if panel.is_instant:
        answers: list[list[Series]] = await asyncio.gather(*map(prometheus.query, expressions))
    else:
        answers = await asyncio.gather(*(prometheus.query_range(each, over) for each in expressions))
    named = [
        (query.name(series.labels, panel.title), series.points)
        for query, answer in zip(panel.queries, answers, strict=True)
        for series in answer
    ]
    return [{"name": name, "color": panel.colors.get(name), "points": points} for name, points in named]
