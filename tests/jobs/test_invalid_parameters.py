"""Invalid parameters end a run as Refused in every job, however the run was created, and cause no alert."""

import os
import re
import sys
from asyncio import create_subprocess_shell
from importlib import import_module
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import pytest
import yaml
from prefect import Flow, State, get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL

from deployments.sandbox.processes import ROOT
from flows.runtime.job_flow import JobFlow
from tests.support.combinations import pairs
from tests.support.sentry_listener import SentryListener
from wishcraft import settings as settings_module

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
DEPLOYED: Final = [each["entrypoint"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
JOBS_PAGE: Final = ROOT / "docs/jobs.md"
UNKNOWN: Final = "unknown.myshopify.com"
NEEDED: Final[dict[str, dict[str, Any]]] = {"flows.backfill.backfill": {"job": "cache-warm"}}
"""Required parameters of the jobs, besides the shops."""
DAYS: Final = {"first_day", "last_day", "today", "until"}
DOMAIN: Final = "maple-and-pine.myshopify.com"


@pytest.fixture(autouse=True)
def _worker_with_sentry(worker_environment: object, sentry: SentryListener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a worker with SENTRY_DSN."""
    assert worker_environment is None  # the fixture is active
    monkeypatch.setenv("SENTRY_DSN", sentry.dsn)
    settings_module.settings.cache_clear()


def load(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    flow: Flow[..., Any] = getattr(import_module(module), name)
    return flow


TAKING_SHOPS: Final = [each for each in DEPLOYED if {"shop", "shops"} & load(each).parameters.properties.keys()]


TAKING_DAYS: Final = [each for each in DEPLOYED if DAYS & load(each).parameters.properties.keys()]


async def run(flow: Flow[..., Any], parameters: dict[str, Any]) -> State[Any]:
    """The end of a run that Prefect's server created without a check of its parameters, as in a worker."""
    async with get_client() as client:
        created = await client.create_flow_run(flow, parameters=parameters)
    state: Any = run_flow(flow, flow_run=created, return_type="state")
    ended: State[Any] = await state
    return ended


def test_every_deployed_flow_checks_its_parameters() -> None:
    assert len(DEPLOYED) >= 19
    assert len(TAKING_SHOPS) >= 12
    assert len(TAKING_DAYS) >= 8
    assert [entrypoint for entrypoint in DEPLOYED if not isinstance(load(entrypoint), JobFlow)] == []


@pytest.mark.parametrize(
    ("entrypoint", "parameters", "reason"),
    [
        ("flows.cache_warm.cache_warm", {"shops": ["a\0.myshopify.com"]}, "shops contains a character that is not"),
        ("flows.audit_trail.audit_trail", {"shop": "a", "actor": "\0"}, "actor contains a character that is not"),
        ("flows.ask.ask", {"question": "SELECT '\0'"}, "question contains a character that is not allowed"),
        ("flows.backfill.backfill", {"job": "cache-warm", "shops": ["\0"]}, "shops contains a char"),
        ("flows.ask.ask", {"question": "Chloe", "rows": "Chloe", "seconds": 99}, "rows: .*; seconds: .*"),
        ("flows.backfill.backfill", {"job": "cache-warm", "force": "Chloe", "dry_run": False}, "force"),
        ("flows.conversion_report.conversion_report", {"today": "2026-02-30"}, "today: must be a date of the calendar"),
        ("flows.shop_settings.shop_settings", {"shop": "a", "brand_colour": "red"}, "is not a colour such as #2f6f5e"),
    ],
)
async def test_invalid_parameter_refuses_the_run_with_its_name(
    entrypoint: str, parameters: dict[str, Any], reason: str, sentry: SentryListener
) -> None:
    state = await run(load(entrypoint), parameters)
    assert state.name == "Refused", state
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(state.message)
    assert "Chloe" not in str(state.message)
    assert sentry.of_type("event") == []


@pytest.mark.parametrize(
    ("entrypoint", "domain"), pairs(TAKING_SHOPS, [UNKNOWN, "maple-and-pine\0.myshopify.com"], others=pytest.mark.deep)
)
async def test_shop_that_does_not_exist_is_refused_by_every_job_that_takes_one(entrypoint: str, domain: str) -> None:
    flow = load(entrypoint)
    shop = {"shop": domain} if "shop" in flow.parameters.properties else {"shops": [domain]}
    state = await run(flow, NEEDED.get(entrypoint, {}) | shop)
    assert state.name == "Refused", state


@pytest.mark.parametrize(
    ("entrypoint", "day"), pairs(TAKING_DAYS, ["2026-13-45", "yesterday", "1800-01-01"], others=pytest.mark.deep)
)
async def test_day_that_does_not_exist_is_refused_by_every_job_that_takes_one(
    entrypoint: str, day: str, sentry: SentryListener
) -> None:
    flow = load(entrypoint)
    known = flow.parameters.properties
    needed = NEEDED.get(entrypoint, {}) | ({"shop": DOMAIN} if "shop" in known else {})
    state = await run(flow, needed | dict.fromkeys(DAYS & known.keys(), day))
    assert state.name == "Refused", state
    assert sentry.of_type("event") == []


async def test_valid_run_after_a_refused_one_works_in_the_same_process() -> None:
    flow = load("flows.cache_warm.cache_warm")
    assert (await run(flow, {"shops": UNKNOWN})).name == "Refused"
    assert (await run(flow, {"shops": [" Maple-And-Pine.MyShopify.com "]})).is_completed()


async def test_command_of_the_docs_prints_why_a_run_was_refused() -> None:
    state = await run(load("flows.cache_warm.cache_warm"), {"shops": [UNKNOWN]})
    [command] = re.findall(r"^\.venv/bin/(prefect flow-run inspect .+)$", JOBS_PAGE.read_text(), re.MULTILINE)
    command = command.replace("UUID", str(state.state_details.flow_run_id))
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    shell = await create_subprocess_shell(f"{Path(sys.executable).parent}/{command}", stdout=PIPE, env=environment)
    shown, _ = await shell.communicate()
    assert f"no active shop has the domain '{UNKNOWN}'" in shown.decode()
