"""All alert rules over a day of a healthy installation, as the real Prometheus evaluates them."""

import asyncio
import json
import os
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml
from prefect.server.schemas.schedules import CronSchedule

from tests.support.alert_rules import MONITORING, ROOT
from tests.support.optional import skip_or_fail

MINUTES: Final = 24 * 60
NIGHT_AND_MORNING: Final = 8 * 60
START: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time at which promtool's clock starts."""
RESTART: Final = 11 * 60
"""The minute in which the API does not answer; its own counters then begin at 0."""
OUTCOMES: Final = ("cancelled", "completed", "crashed", "failed", "refused")
SCHEDULES: Final[dict[str, str]] = {
    deployment["name"]: deployment["schedules"][0]["cron"]
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    if deployment["schedules"]
}
FIRED: Final = 'count by (alertname, job) (count_over_time(ALERTS{alertstate="firing"}[1d]))'

Value = Callable[[int], float | None]
"""The value of a series in a minute; None where it has no sample."""


def is_day(minute: int) -> bool:
    return 7 * 60 <= minute < 23 * 60


@cache
def served(minute: int) -> int:
    """The requests that the API's process has answered since it started: thirty a minute by day."""
    since = RESTART if minute > RESTART else 0
    return 30 * sum(map(is_day, range(since, minute)))


def scaled(share: float, less: int = 0) -> Value:
    """A share of the requests, without the first `less`."""
    return lambda minute: max(0.0, share * served(minute) - less)


def last_of(ends: list[int]) -> Value:
    """The time of the last of these minutes, in seconds; no sample before the first."""
    return lambda minute: max((60.0 * end for end in ends if end <= minute), default=None)


def if_up(value: Value) -> Value:
    """The value where the API is scraped: not before it listens, and not while it restarts."""
    return lambda minute: None if minute in {0, RESTART} else value(minute)


def ends(job: str) -> list[int]:
    """The minutes in which a scheduled run of the job ends, one after it starts."""
    end = START + timedelta(minutes=MINUTES - 1)
    schedule = CronSchedule(cron=SCHEDULES[job], timezone="UTC")
    moments = asyncio.run(schedule.get_dates(MINUTES, START - timedelta(seconds=1), end))
    return [int((moment - START).total_seconds() // 60) + 1 for moment in moments]


def job_series(job: str, minutes: list[int], outcome: str) -> dict[str, Value]:
    """The counters of a job whose runs ended in these minutes, all with this outcome."""

    def runs(name: str) -> Value:
        def value(minute: int) -> float | None:
            count = bisect_right(minutes, minute)
            return None if not count else float(count if name == outcome else 0)

        return if_up(value)

    return {f'wishcraft_job_runs_total{{job="{job}", outcome="{name}"}}': runs(name) for name in OUTCOMES}


def healthy_day() -> dict[str, Value]:
    """Every series that matters to a rule: scheduled jobs, traffic by day, one refused run, one throttled query."""
    series: dict[str, Value] = {
        'up{job="wishcraft", instance="api"}': lambda minute: float(minute not in {0, RESTART}),
        "wishcraft_redis_up": if_up(lambda _: 1.0),
        'wishcraft_breaker_open{store="redis"}': if_up(lambda _: 0.0),
        "wishcraft_redis_memory_bytes": if_up(lambda _: 4e6),
        "wishcraft_redis_memory_limit_bytes": if_up(lambda _: 256e6),
        "wishcraft_redis_evictions_total": if_up(lambda _: 0.0),
        'wishcraft_db_connections{state="in_use"}': if_up(lambda minute: float(minute % 4)),
        'wishcraft_db_connections{state="idle"}': if_up(lambda _: 2.0),
        "wishcraft_db_connections_limit": if_up(lambda _: 20.0),
        "wishcraft_webhook_lag_seconds": if_up(lambda _: 0.4),
        "wishcraft_webhook_dead_letters": if_up(lambda _: 0.0),
        'wishcraft_invariant_violations{invariant="progress"}': if_up(lambda _: 0.0),
        'wishcraft_webhooks_total{result="accepted"}': if_up(lambda minute: served(minute) / 10),
        'wishcraft_shopify_throttled_total{shop="maple"}': if_up(lambda minute: 1.0 if minute > 700 else None),
        'wishcraft_mails_total{outcome="sent"}': if_up(lambda minute: 12.0 if minute > 10 * 60 else None),
        'wishcraft_mails_total{outcome="postponed"}': if_up(lambda minute: 1.0 if minute > 10 * 60 else None),
        'wishcraft_request_seconds_count{route="/registries", status="200"}': if_up(served),
    }
    for part in ("database", "replica", "memory", "prefect", "scheduler"):
        series[f'wishcraft_part_health{{part="{part}"}}'] = if_up(lambda _: 1.0)
    for state, share in (("hit", 0.95), ("miss", 0.05)):
        series[f'wishcraft_cache_reads_total{{state="{state}"}}'] = if_up(scaled(share))
    for bound, slow in (("0.1", 20), ("+Inf", 0)):  # the process's first requests are slow
        series[f'wishcraft_request_seconds_bucket{{route="/registries", status="200", le="{bound}"}}'] = if_up(
            scaled(1, less=slow)
        )
    for job in SCHEDULES:
        minutes = ends(job)
        series |= job_series(job, minutes, "completed")
        series[f'wishcraft_job_last_success_timestamp_seconds{{job="{job}"}}'] = if_up(last_of(minutes))
        series[f'wishcraft_overdue_runs{{job="{job}"}}'] = if_up(lambda _: 0.0)
    return series | job_series("ask", [800], "refused")


def difference(folder: Path, series: dict[str, Value], expected: dict[str, str], minutes: int = MINUTES) -> str:
    """The message of promtool if other alerts fire within `minutes` than expected, by job; empty if none do."""
    values = {
        name: " ".join("_" if (at := value(minute)) is None else f"{at:g}" for minute in range(minutes + 1))
        for name, value in series.items()
    }
    samples = [{"labels": f'{{alertname="{alert}", job="{job}"}}', "value": 1} for job, alert in expected.items()]
    day = {
        "interval": "1m",
        "input_series": [{"series": name, "values": each} for name, each in values.items()],
        "promql_expr_test": [{"expr": FIRED, "eval_time": f"{minutes}m", "exp_samples": samples}],
    }
    rules = str(MONITORING / "alerts.yaml")
    file = folder / "day.json"
    file.write_text(json.dumps({"rule_files": [rules], "evaluation_interval": "1m", "tests": [day]}))
    command = ["promtool", "test", "rules", str(file)]
    # promtool ends soon, so let its memory grow instead of collecting garbage: a fifth of its work.
    environment = os.environ | {"GOGC": "400"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  ours
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture(autouse=True)
def promtool() -> None:
    """Prometheus's checker."""
    if shutil.which("promtool") is None:
        skip_or_fail("prometheus", "promtool is not installed")


def test_no_alert_fires_in_a_whole_day_of_a_healthy_installation(tmp_path: Path) -> None:
    assert difference(tmp_path, healthy_day(), {}) == ""


def test_a_failed_and_a_crashed_run_fire_exactly_their_alerts(tmp_path: Path) -> None:
    series = healthy_day()
    series |= job_series("export-data", [200], "failed") | job_series("demand-forecast", [440], "crashed")
    expected = {"export-data": "JobFailed", "demand-forecast": "JobCrashed"}
    assert difference(tmp_path, series, expected, NIGHT_AND_MORNING) == ""
