"""The automations on a real Prefect server: they are created once, and send alerts."""

import re
from datetime import timedelta

import httpx
import pytest
import yaml
from prefect.events import EventTrigger
from prefect.events.actions import DoNothing

from deployments.automations import (
    MAX_DURATION,
    alert_on_failures,
    alert_on_late_starts,
    alert_on_slow_runs,
    end_dead_runs,
)
from deployments.sandbox.processes import ROOT
from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    post,
    read_state,
    set_state,
    shortened_trigger,
    start_run,
    wait_for_alert,
)

pytestmark = pytest.mark.chaos


def test_every_deployment_has_a_maximum_duration() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed == set(MAX_DURATION)


def test_dead_run_is_ended_in_the_time_that_the_docs_promise() -> None:
    for automation in end_dead_runs():
        assert isinstance(automation.trigger, EventTrigger)
        assert automation.trigger.within == timedelta(seconds=90)
    assert "become Crashed 90 to 100 seconds after their last sign of life" in (ROOT / "docs/jobs.md").read_text()


def test_repeated_setup_creates_each_automation_once(http: httpx.Client) -> None:
    names = [each["name"] for each in post(http, "/automations/filter", {})]
    assert len(names) == len(set(names)) == 5 + len(MAX_DURATION)


async def test_alert_of_a_failed_run_has_its_reason_and_its_link(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    set_state(http, run, "FAILED", "Failed: a.myshopify.com (ShopifyUnauthorized).")
    await wait_for_alert(alerts, "sync-inventory: Failed")
    [alert] = [each for each in alerts if f"/v2/runs/flow-run/{run}" in each]  # others may be late ones of other tests
    assert "What happened: Failed: a.myshopify.com (ShopifyUnauthorized)." in alert
    assert "What to do: Open the run" in alert
    [runbook] = [line for line in alert.splitlines() if line.startswith("Runbook: ")]
    assert runbook.startswith("Runbook: http://127.0.0.1:")
    assert runbook.endswith("/runbooks/job-failed.md")


@pytest.mark.parametrize("kind", ["failure", "late", "slow"])
def test_runbook_that_an_alert_links_to_exists(kind: str) -> None:
    pages: list[str] = []

    def alert(_subject: str, _advice: str, page: str) -> DoNothing:
        pages.extend(re.findall(r"[a-z]+-[a-z]+|^[a-z]+$", page.partition(" if ")[0] + page.partition(" else ")[2]))
        return DoNothing()

    {
        "failure": lambda: alert_on_failures(alert),
        "late": lambda: alert_on_late_starts(alert),
        "slow": lambda: alert_on_slow_runs("ask", timedelta(minutes=5), alert),
    }[kind]()
    assert pages
    assert [page for page in pages if not (ROOT / f"docs/runbooks/{page}.md").is_file()] == []


async def test_completed_run_sends_no_alert(http: httpx.Client, alerts: list[str]) -> None:
    completed, crashed = start_run(http, "cache-warm"), create_run(http, deployment_id(http, "cache-warm"))
    set_state(http, completed, "COMPLETED")
    set_state(http, crashed, "CRASHED", "After the other.")
    await wait_for_alert(alerts, crashed)
    assert not any(completed in alert for alert in alerts)


async def test_late_run_without_a_worker_sends_an_alert(http: httpx.Client, alerts: list[str]) -> None:
    with shortened_trigger(http, "Alert: a job does not start"):
        run = create_run(http, deployment_id(http, "cache-warm"))
        set_state(http, run, "SCHEDULED", name="Late")
        await wait_for_alert(alerts, "cache-warm does not start")
    set_state(http, run, "CANCELLED")


async def test_run_over_its_maximum_duration_sends_an_alert_and_continues(
    http: httpx.Client, alerts: list[str]
) -> None:
    with shortened_trigger(http, "Alert: cache-warm takes too long"):
        run = start_run(http, "cache-warm")
        await wait_for_alert(alerts, "cache-warm is not done after")
    assert read_state(http, run)["type"] == "RUNNING"
    set_state(http, run, "COMPLETED")
