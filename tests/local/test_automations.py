"""The automations on a real Prefect server: they are created once, and send alerts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml
from prefect.events import EventTrigger
from prefect.events.actions import DoNothing

from deployments.automations import (
    LATE_WATCH,
    MAX_DURATION,
    Alert,
    alert_on_failures,
    alert_on_late_starts,
    alert_on_slow_runs,
    end_dead_runs,
)
from deployments.sandbox.processes import ROOT
from tests.support.prefect_automations import PROBE, read_automation, shortened_trigger, wait_until_loaded
from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    go_through,
    post,
    read_state,
    set_state,
    start_run,
    wait_for,
    wait_for_alert,
)

pytestmark = pytest.mark.chaos


def test_every_deployment_has_a_maximum_duration() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed == set(MAX_DURATION)


def test_dead_run_is_ended_in_the_time_that_the_docs_promise() -> None:
    within = {each.name: each.trigger.within for each in end_dead_runs() if isinstance(each.trigger, EventTrigger)}
    assert within == {
        "Mark runs whose process died": timedelta(seconds=90),
        "Mark runs that never started": timedelta(minutes=3),
        "Mark runs whose cancellation has no end": timedelta(seconds=90),
    }
    docs = " ".join((ROOT / "docs/jobs.md").read_text().split())
    assert "become Crashed 90 to 100 seconds after their last heartbeat" in docs
    assert "three minutes after a worker took them if they have none" in docs


def test_repeated_setup_creates_each_automation_once(http: httpx.Client) -> None:
    names = [each["name"] for each in post(http, "/automations/filter", {}) if each["name"] != PROBE]
    assert len(names) == len(set(names)) == 6 + len(MAX_DURATION)


async def test_alert_of_a_failed_run_has_its_reason_and_its_link(http: httpx.Client, alerts: list[str]) -> None:
    run = start_run(http, "sync-inventory")
    set_state(http, run, "FAILED", "Failed: a.myshopify.com (ShopifyUnauthorized).")
    alert = await wait_for_alert(alerts, f"/v2/runs/flow-run/{run}")
    assert alert.startswith("sync-inventory: Failed")
    assert "What happened: Failed: a.myshopify.com (ShopifyUnauthorized)." in alert
    assert "What to do: Open the run" in alert
    [runbook] = [line for line in alert.splitlines() if line.startswith("Runbook: ")]
    assert runbook.startswith("Runbook: http://127.0.0.1:")
    assert runbook.endswith("/runbooks/job-failed.md")


@pytest.mark.parametrize("kind", ["failure", "late", "slow"])
def test_runbook_that_an_alert_links_to_exists(kind: str) -> None:
    pages: list[str] = []

    def alert(parts: Alert) -> DoNothing:
        page = parts.page
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
    with shortened_trigger(http, LATE_WATCH):
        run = create_run(http, deployment_id(http, "cache-warm"))
        set_state(http, run, "SCHEDULED", name="Late")
        await wait_for_alert(alerts, "Jobs do not start: is a worker up?")


async def test_late_runs_send_no_alert_while_a_worker_takes_others(http: httpx.Client, alerts: list[str]) -> None:
    late = [create_run(http, deployment_id(http, "send-reminders")) for _ in range(3)]
    taken = create_run(http, deployment_id(http, "cache-warm"))
    with shortened_trigger(http, LATE_WATCH, "Alert: cache-warm takes too long"):
        for run in late:
            set_state(http, run, "SCHEDULED", name="Late")
        go_through(http, taken, ["PENDING", "RUNNING"])
        await wait_for_alert(alerts, taken)  # as long after the others were late
    assert not any("Jobs do not start" in alert for alert in alerts)


async def test_a_quiet_time_is_no_late_start(http: httpx.Client) -> None:
    began = datetime.now(UTC).isoformat()

    def fired(automation: str) -> bool:
        resource, occurred = {"id": [f"prefect.automation.{automation}"]}, {"since": began}
        named = {"resource": resource, "occurred": occurred, "event": {"name": ["prefect.automation.triggered"]}}
        return bool(post(http, "/events/filter", {"filter": named})["events"])

    with shortened_trigger(http, LATE_WATCH), quiet_time(http) as quiet:
        await wait_for(lambda: fired(quiet))
    assert not fired(read_automation(http, LATE_WATCH)["id"])


@contextmanager
def quiet_time(http: httpx.Client) -> Iterator[str]:
    """Context manager: an automation that fires when no run was taken for as long as LATE_WATCH waits; its id.

    It has no key, so Prefect starts its time without an event.
    """
    watch = read_automation(http, LATE_WATCH)
    body = {"name": "Quiet", "trigger": watch["trigger"] | {"for_each": []}, "actions": watch["actions"]}
    with further_automation(http, body) as created:
        yield created


@contextmanager
def further_automation(http: httpx.Client, body: dict[str, Any]) -> Iterator[str]:
    """Context manager: one more automation, until the test passes or fails; its id."""
    created = str(post(http, "/automations/", body)["id"])
    wait_until_loaded(http)
    try:
        yield created
    finally:
        http.delete(f"/automations/{created}").raise_for_status()
        wait_until_loaded(http)


@contextmanager
def each_failure_sent(http: httpx.Client) -> Iterator[None]:
    """Context manager: a further automation that sends an alert for each failed run, without a pause."""
    found = read_automation(http, "Alert: a job failed")
    body = {
        "name": "Each failure",
        "trigger": found["trigger"] | {"within": 0},
        "actions": [found["actions"][0] | {"subject": "each: {{ flow_run.id }}"}],
    }
    with further_automation(http, body):
        yield


async def test_each_job_that_fails_sends_an_alert_and_its_next_failures_none(
    http: httpx.Client, alerts: list[str]
) -> None:
    jobs = ("cache-warm", "sync-inventory", "cache-warm", "send-reminders", "sync-inventory")
    runs: list[str] = []

    def sent() -> list[str]:
        """The alerts of these runs, without those of the further automation."""
        return [each for each in alerts if not each.startswith("each: ") and any(run in each for run in runs)]

    with shortened_trigger(http, "Alert: a job failed", seconds=7200), each_failure_sent(http):
        for name in jobs:
            runs.append(start_run(http, name))
            set_state(http, runs[-1], "FAILED", "PostgreSQL does not answer.")
        for run in runs:
            await wait_for_alert(alerts, f"each: {run}")
        await wait_for(lambda: len(sent()) >= len(set(jobs)))
    assert sorted(each.partition(":")[0] for each in sent()) == sorted(set(jobs))
    for alert in sent():
        assert "For an hour, further failures of this job send no alert: http://127.0.0.1:" in alert


async def test_run_over_its_maximum_duration_sends_an_alert_and_continues(
    http: httpx.Client, alerts: list[str]
) -> None:
    with shortened_trigger(http, "Alert: cache-warm takes too long"):
        run = start_run(http, "cache-warm")
        assert "cache-warm is not done after" in await wait_for_alert(alerts, run)
    assert read_state(http, run)["type"] == "RUNNING"
