"""The deployed schedules leave no gap when clocks change, in any time zone."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema

from deployments.local.prefect_api import NOT_AT_START
from deployments.prefect_setup import in_time_zone
from deployments.superseded_runs import DATED_TAG
from wishcraft.services.operations.prefect_api import POOL

ZONES = ["America/New_York", "Europe/Paris", "Asia/Tokyo", "America/Havana", "Australia/Lord_Howe", "UTC"]
INTERVALS = {
    "sync-inventory": timedelta(minutes=15),
    "check-invariants": timedelta(minutes=15),
    "send-invitations": timedelta(minutes=10),
    "cache-warm": timedelta(minutes=30),
    "cleanup-sessions": timedelta(hours=6),
    "reconcile-orders": timedelta(hours=1),
}
CLOCK_CHANGES = [
    datetime(2026, month, day, 12, tzinfo=UTC)
    for month, day in ((3, 7), (3, 28), (4, 4), (10, 3), (10, 24), (10, 31))  # noon of the Saturdays before
]


@cache
def schedules(zone: str) -> dict[str, CronSchedule]:
    """The schedule of each scheduled job, as deployed with TZ."""
    text = in_time_zone((Path(__file__).parents[2] / "prefect.yaml").read_text(), zone)
    scheduled = [each for each in yaml.safe_load(text)["deployments"] if each["schedules"]]
    return {each["name"]: CronSchedule(**each["schedules"][0]) for each in scheduled}


@pytest.mark.parametrize("job", list(INTERVALS))
async def test_job_with_an_interval_runs_in_that_interval_over_both_clock_changes(job: str) -> None:
    schedule = schedules("UTC")[job]
    assert [schedules(zone)[job] for zone in ZONES] == [schedule] * len(ZONES)
    for saturday in CLOCK_CHANGES:
        runs = await schedule.get_dates(120, start=saturday)
        assert {(after - before).total_seconds() for before, after in pairwise(runs)} == {
            INTERVALS[job].total_seconds()
        }


@pytest.mark.parametrize("zone", ZONES)
async def test_daily_job_runs_once_each_day_of_its_time_zone(zone: str) -> None:
    for job in ("send-reminders", "cleanup-logs", "service-levels"):
        schedule = schedules(zone)[job]
        assert schedule.timezone == zone
        runs = await schedule.get_dates(366, start=datetime(2026, 1, 1, tzinfo=UTC))
        days = [run.astimezone(ZoneInfo(zone)).toordinal() for run in runs]
        assert days == list(range(days[0], days[0] + 366))


def test_job_that_a_start_of_the_stack_runs_needs_no_parameter() -> None:
    deployed = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    at_start = [each for each in deployed if not NOT_AT_START & set(each["tags"])]
    assert {"cache-warm", "check-invariants"} <= {each["name"] for each in at_start}
    for each in at_start:
        flow: Flow[..., Any] = load_flow_from_entrypoint(each["entrypoint"])
        assert not parameter_schema(flow).required, each["name"]


def test_every_schedule_follows_utc_or_the_time_zone_of_people() -> None:
    zones = {job: schedule.timezone for job, schedule in schedules("Asia/Tokyo").items()}
    in_utc = {job for job, zone in zones.items() if zone == "UTC"}
    assert in_utc == {*INTERVALS, "daily-report", "weekly-report"}  # reports of a whole number of 24 hours
    assert set(zones.values()) == {"UTC", "Asia/Tokyo"}


def test_each_deployment_has_the_work_pool_that_the_worker_serves() -> None:
    text = (Path(__file__).parents[2] / "prefect.yaml").read_text()
    assert {each["work_pool"]["name"] for each in yaml.safe_load(text)["deployments"]} == {POOL}


def test_scheduled_flow_that_is_about_its_time_is_tagged_as_a_report() -> None:
    """Of other schedules' waiting runs, the newest alone is started."""
    root = Path(__file__).parents[2]
    deployed = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    scheduled = [each for each in deployed if each["schedules"]]
    sources = {each["name"]: root / "flows" / f"{each['entrypoint'].split('.')[1]}.py" for each in scheduled}
    dated = {name for name, path in sources.items() if "scheduled_start" in path.read_text()}
    assert {"daily-report", "service-levels"} <= dated
    assert dated <= {each["name"] for each in scheduled if DATED_TAG in each["tags"]}
