"""A parameter that cannot be right is for the person who started the run: Refused in every job, and no alert."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, State
from prefect.utilities.callables import parameter_schema

from flows.audit_trail import audit_trail
from flows.backfill import backfill
from flows.cache_warm import cache_warm
from flows.check_invariants import check_invariants
from flows.conversion_report import conversion_report
from flows.demand_forecast import demand_forecast
from flows.export_data import export_data
from flows.registry_report import registry_report
from flows.send_invitations import send_invitations
from flows.send_reminders import send_reminders
from flows.shop_settings import shop_settings
from flows.sync_inventory import sync_inventory

pytestmark = [
    pytest.mark.usefixtures("prefect_server", "worker_environment", "demo"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # Prefect's own client, on every flow run
]
JOBS: dict[Flow[..., Any], dict[str, Any]] = {
    audit_trail: {},
    backfill: {"job": "cache-warm"},
    cache_warm: {},
    check_invariants: {},
    conversion_report: {},
    demand_forecast: {},
    export_data: {},
    registry_report: {},
    send_invitations: {},
    send_reminders: {},
    shop_settings: {},
    sync_inventory: {},
}
"""The jobs that take shops, with the parameters that they need besides."""


def test_every_job_that_takes_shops_is_here() -> None:
    deployments = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    entrypoints = [each["entrypoint"].rpartition(".") for each in deployments]
    flows = {getattr(import_module(module), name) for module, _, name in entrypoints}
    assert set(JOBS) == {flow for flow in flows if {"shop", "shops"} & parameter_schema(flow).properties.keys()}


@pytest.mark.parametrize("domain", ["nobody.myshopify.com", "maple-and-pine\0.myshopify.com"])
@pytest.mark.parametrize("flow", JOBS, ids=lambda flow: flow.name)
async def test_shop_that_does_not_exist_is_refused_by_every_job(flow: Flow[..., Any], domain: str) -> None:
    shop = {"shop": domain} if "shop" in inspect.signature(flow.fn).parameters else {"shops": [domain]}
    run: Any = flow(**JOBS[flow], **shop, return_state=True)
    state: State[Any] = await run
    assert state.name == "Refused", state.message
    assert state.message


async def test_domain_of_a_shop_may_be_typed_in_capitals_and_with_spaces() -> None:
    state = await cache_warm([" Maple-And-Pine.MyShopify.com "], return_state=True)
    assert state.is_completed(), state.message
