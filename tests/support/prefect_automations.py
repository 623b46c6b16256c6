"""Changes of a Prefect server's automations, and of the time that they give to a run."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import psycopg

from tests.support.prefect_calls import POLL_SECONDS, WAIT_SECONDS, post, read_state, send_event

SHORTEST_TRIGGER_SECONDS: Final = 10  # the minimum of a proactive trigger
PROBE: Final = "Probe of the tests"
"""Name of the automation that tells when the server has loaded the others."""


@contextmanager
def shortened_trigger(http: httpx.Client, *names: str, seconds: float = SHORTEST_TRIGGER_SECONDS) -> Iterator[None]:
    """Context manager: shorten the time of these automations' triggers, also for no later test if this one fails."""
    before = {name: read_automation(http, name)["trigger"]["within"] for name in names}
    set_trigger_seconds(http, dict.fromkeys(names, seconds))
    try:
        yield
    finally:
        set_trigger_seconds(http, before)


def read_automation(http: httpx.Client, name: str) -> dict[str, Any]:
    [automation] = [each for each in post(http, "/automations/filter", {}) if each["name"] == name]
    return dict(automation)


def set_trigger_seconds(http: httpx.Client, wanted: dict[str, float]) -> None:
    """Change the times of automations' triggers, by name, and wait until they count.

    A changed automation forgets the events before. One that has this time is left alone.
    """
    found = {name: read_automation(http, name) for name in wanted}
    changed = {name: each for name, each in found.items() if float(each["trigger"]["within"]) != wanted[name]}
    for name, automation in changed.items():
        body = {key: automation[key] for key in ("name", "description", "enabled", "trigger", "actions")}
        body["trigger"] |= {"within": wanted[name]}
        http.put(f"/automations/{automation['id']}", json=body).raise_for_status()
    if changed:
        wait_until_loaded(http)


def wait_until_loaded(http: httpx.Client) -> None:
    """Wait until the server works with its automations as they are now.

    It loads one changed automation after the other, and loses events meanwhile. So this changes one more, and repeats
    an event until that one answers it: it cancels a run.
    """
    flow = post(http, "/flows/", {"name": "probe"})["id"]
    run = str(post(http, "/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})["id"])
    body = {
        "name": PROBE,
        "trigger": {"type": "event", "expect": [f"probe.{run}"], "posture": "Reactive", "threshold": 1, "within": 0},
        "actions": [{"type": "change-flow-run-state", "state": "CANCELLED"}],
    }
    found = [each["id"] for each in post(http, "/automations/filter", {}) if each["name"] == PROBE]
    http.request("PUT" if found else "POST", f"/automations/{''.join(found)}", json=body).raise_for_status()
    deadline = time.monotonic() + WAIT_SECONDS
    while read_state(http, run)["type"] != "CANCELLED":
        assert time.monotonic() < deadline
        send_event(http, run, f"probe.{run}")
        time.sleep(POLL_SECONDS)


def wait_for_end_without_a_sign_of_life(http: httpx.Client, database: str, run: str) -> dict[str, Any]:
    """The state in which automations end a run that sends no more events; their time is over at once.

    The time is over again and again: each event of the run that the server has not handled yet gives it more.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    with psycopg.connect(database.replace("+asyncpg", ""), autocommit=True) as connection:
        while (state := read_state(http, run))["type"] in {"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}:
            assert time.monotonic() < deadline
            ended = connection.execute(
                'UPDATE automation_bucket SET "end" = now() WHERE bucketing_key::jsonb = %s::jsonb AND "end" > now()',
                [json.dumps([f"prefect.flow-run.{run}"])],
            )
            if ended.rowcount:  # the server looks at an automation that has changed
                connection.execute("UPDATE automation SET updated = now()")
            time.sleep(POLL_SECONDS)
    return state
