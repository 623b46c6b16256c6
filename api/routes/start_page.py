"""The start page of the local stack at `/`: what there is to open, what runs, and keys of the demo shops to copy.

`api.app` has these routes only if START_PAGE is set.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from api.auth.dependencies import AppStateDep
from api.problems import ProblemError
from api.state import AppState
from api.templating import PAGES, csp_source
from wishcraft.domain.networks import is_within, names_loopback, parse_networks
from wishcraft.domain.work_results import join_names
from wishcraft.errors import CacheUnavailable, ConfigurationError
from wishcraft.services.operations.runs import JobRuns, find_runs

SHOWN_RUNS: Final = 8
_ALERTS_SECONDS: Final = 1.0
_ADDRESSES: Final = ("api", "prefect_ui", "prefect_password_file", "shopify", "mailbox", "monitoring")
_OF_SHOPS: Final = ("domain", "api_key", "customer_id", "registries")
"""The fields of the stack's file that the page shows; the file also has passwords."""
_LOOPBACK: Final = parse_networks("127.0.0.0/8, ::1")
_SCRIPT: Final = PAGES.get_template("start_page.js").render()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {csp_source(_SCRIPT)}; style-src 'unsafe-inline'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Trouble(NamedTuple):
    """Faults of single shops while every part answers: a sentence, and the runbook's name."""

    sentence: str
    runbook: str


_SHOPIFY_TROUBLES: Final = {
    "shopify_failed_total": Trouble("Shopify did not answer requests of {}", "job-failed"),
    "shopify_throttled_total": Trouble("Shopify throttled requests of {}", "shopify-throttling"),
    "shopify_forbidden_total": Trouble("Shopify forbade requests of {}", "shopify-forbidden"),
}
"""By the counter of these requests."""


async def require_this_machine(request: Request) -> None:
    """421 unless this machine asks, by a name of its own."""
    address = request.client.host if request.client else ""
    origin = request.headers.get("origin")
    is_of_page = origin in {None, f"http://{request.headers.get('host')}"}  # CORS_ORIGINS may let others read it
    if not (is_of_page and names_loopback(request.scope["headers"]) and is_within(address, _LOOPBACK)):
        detail = "The start page is for this machine only: open it as 127.0.0.1 or localhost."
        raise ProblemError("misdirected-request", detail)


router: Final = APIRouter(include_in_schema=False, dependencies=[Depends(require_this_machine)])


@router.get("/")
async def show(app_state: AppStateDep) -> HTMLResponse:
    """Render the start page."""
    return await _render("start_page.html", app_state)


@router.get("/start/live")
async def show_live(app_state: AppStateDep) -> HTMLResponse:
    """The part of the page that its script renews."""
    return await _render("start_live.html", app_state)


async def _render(template: str, app_state: AppState) -> HTMLResponse:
    file = app_state.settings.start_page
    stack = await asyncio.to_thread(read_stack, file) if file else None
    health, runs, troubles, alerts = await asyncio.gather(
        app_state.health_monitor.health(),
        _find_runs(app_state),
        _find_troubles(app_state),
        _count_alerts(app_state, stack),
    )
    page = PAGES.get_template(template).render(
        stack=stack,
        health=health,
        runs=runs,
        troubles=troubles,
        alerts=alerts,
        script=_SCRIPT,
        prefect_ui=app_state.settings.prefect_ui_url,
    )
    return HTMLResponse(page, headers=_HEADERS)


async def _find_runs(app_state: AppState) -> JobRuns | None:
    """The runs; None if Prefect does not answer."""
    try:
        return await find_runs(app_state.resources.http, app_state.settings, SHOWN_RUNS)
    except (ConfigurationError, httpx.HTTPError):
        return None


async def _find_troubles(app_state: AppState) -> Mapping[str, Sequence[Trouble]]:
    """Faults of single shops while every part answers, by part."""
    troubles = {}
    if groups := await app_state.health_monitor.shops_in_trouble():
        troubles["shopify"] = [
            Trouble(f"{trouble.sentence.format(join_names(groups[name]))} in the last ten minutes.", trouble.runbook)
            for name, trouble in _SHOPIFY_TROUBLES.items()
            if name in groups
        ]
    with suppress(CacheUnavailable):
        gauges = (await app_state.resources.counters.read())["mail_paused"]
        if paused := [each.labels[0] for each in gauges if each.value]:
            troubles["mail"] = [Trouble(f"Complaints pause the mail of {join_names(paused)}.", "mail")]
    return troubles


async def _count_alerts(app_state: AppState, stack: Mapping[str, Any] | None) -> int:
    """The number of firing alerts; 0 without monitoring, or while it does not answer."""
    if stack is None or not stack["monitoring"]:
        return 0
    try:
        answer = await app_state.resources.http.get(f"{stack['monitoring']}/alerts", timeout=_ALERTS_SECONDS)
        return sum(alert["state"] == "firing" for alert in answer.raise_for_status().json()["alerts"])
    except (httpx.HTTPError, ValueError):
        return 0


def read_stack(file: Path) -> Mapping[str, Any] | None:
    """The part of the stack's file that the page may show; None before the stack is ready, and after its end."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    shops = [{name: shop[name] for name in _OF_SHOPS} for shop in found["shops"] if shop["registries"]]
    return {name: found[name] for name in _ADDRESSES} | {"shops": shops}
