"""Names of runs, by what started them and what they are about."""

from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml
from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow

from deployments.sandbox.processes import ROOT
from flows.backfill import backfill
from flows.webhook_dead_letters import webhook_dead_letters
from tasks.runtime.run_name import current_run_name, name_run, scope

DEPLOYED: Final = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
DUE: Final = datetime(2026, 11, 28, 18, 15, tzinfo=UTC)  # 13:15 in New York
DOMAIN: Final = "maple-and-pine.myshopify.com"


def load(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow: Flow[..., Any] = getattr(import_module(module), name)
    return flow


@pytest.mark.usefixtures("worker_environment")
@pytest.mark.parametrize("deployment", DEPLOYED, ids=lambda each: str(each["name"]))
def test_scheduled_run_of_every_job_is_named_by_job_scope_and_time(deployment: dict[str, Any]) -> None:
    flow = load(deployment)
    assert flow.flow_run_name is current_run_name
    run = FlowRun(flow_id=uuid4(), parameters=deployment.get("parameters", {}), expected_start_time=DUE)
    name = name_run(flow.name, flow.parameters.properties, run)
    takes_shops = "shops" in flow.parameters.properties
    assert name.startswith(f"{deployment['name']} · ")
    assert name.endswith(" · 13:15 EST")
    assert (" · all shops · " in name) == (takes_shops or flow is webhook_dead_letters)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"job": "cache-warm"}, ["cache-warm", "all shops", "dry run"]),
        ({"job": "cache-warm", "shops": [f" {DOMAIN.upper()} "], "dry_run": False}, ["cache-warm", "maple-and-pine"]),
        ({"shops": [DOMAIN] * 3, "dry_run": False}, ["3 shops"]),
        (
            {"first_day": "2026-03-01", "last_day": date(2026, 3, 4)},
            ["all shops", "2026-03-01 to 2026-03-04", "dry run"],
        ),
        ({"first_day": "2026-03-01", "last_day": "2026-03-01"}, ["all shops", "2026-03-01", "dry run"]),
        ({"last_day": "2026-03-01", "dry_run": False}, ["all shops", "to 2026-03-01"]),
        ({"shops": ["\0"], "job": {"a": 1}, "dry_run": "Chloe"}, ["1 shop"]),
        ({"shops": "emma@example.com", "first_day": 7, "dry_run": None}, ["1 shop"]),
        ({"first_day": "2026-13-45", "last_day": "soon", "dry_run": False}, ["all shops"]),
        ({"shops": ["a" * 10_000], "dry_run": False}, ["1 shop"]),
    ],
)
def test_scope_names_choice_shops_and_days_and_nothing_that_is_mistyped(given: dict[str, Any], name: list[str]) -> None:
    assert scope(backfill.parameters.properties, given) == name


@pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
@pytest.mark.parametrize(("shop", "scope"), [(DOMAIN, "maple-and-pine"), ("a\0", "1 shop")])
async def test_run_that_a_person_starts_is_named_even_if_it_is_refused(shop: str, scope: str) -> None:
    flow = load({"entrypoint": "flows.cache_warm.cache_warm"})
    async with get_client() as client:
        created = await client.create_flow_run(flow, parameters={"shops": [shop]}, name="lively-otter")
        ending: Any = run_flow(flow, flow_run=created, return_type="state")
        state = await ending
        named = await client.read_flow_run(created.id)
    assert (state.is_completed(), state.name == "Refused") == (shop == DOMAIN, shop != DOMAIN)
    assert named.name.rpartition(" · ")[0] == f"cache-warm · {scope}"
