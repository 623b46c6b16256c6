"""Alerts on jobs, Prefect, Shopify and mail, including those on the first value of a counter."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from prefect.server.schemas.schedules import CronSchedule

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from deployments.sandbox.shopify import faults
from deployments.sandbox.shopify.simulator import Options, Simulator
from tests.support.alert_rules import ROOT, firing, queries
from tests.support.aliases import Demo
from tests.support.fake_prefect import FakePrefect
from tests.support.metric_samples import Samples
from tests.support.outages import recovered
from tests.support.promql import evaluate
from tests.support.shopify_world import FakeClock
from tests.support.valkey import OwnValkey
from tests.support.watched_api import Watched, watching
from wishcraft.errors import ShopifyForbidden
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

SHOP = "maple-and-pine.myshopify.com"
HALF_AN_HOUR, HOUR = 1800.0, 3600.0
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
SCHEDULED = [deployment for deployment in DEPLOYMENTS if deployment["schedules"]]
FAILED_AND_CRASHED = pytest.mark.parametrize(("outcome", "alert"), [("failed", "JobFailed"), ("crashed", "JobCrashed")])


@pytest.fixture
async def shop(watched: Watched) -> ShopRef:
    """One of the demo shops."""
    async with watched.app_state.resources.db.repeatable_read() as session:
        return (await shops.find_active(session, [SHOP]))[0]


@FAILED_AND_CRASHED
async def test_a_failed_or_crashed_run_alerts_the_first_and_every_time(
    watched: Watched, outcome: str, alert: str
) -> None:
    await watched.count("job_runs_total", job="cache-warm", outcome="completed")
    for after in (HALF_AN_HOUR, 15):
        await watched.count("job_runs_total", job="cleanup-logs", outcome=outcome)
        assert await watched.scrape(after) == {alert: [{"job": "cleanup-logs", "severity": "ticket"}]}
        assert await watched.scrape(HALF_AN_HOUR) == {}


@FAILED_AND_CRASHED
async def test_an_old_failure_does_not_alert_again_when_redis_returns(
    watched: Watched, own_valkey: OwnValkey, outcome: str, alert: str
) -> None:
    await watched.count("job_runs_total", job="cache-warm", outcome=outcome)
    assert alert in await watched.scrape()
    own_valkey.pause()
    assert set(await watched.scrape(10 * HOUR)) == {"RedisAway"}
    own_valkey.resume()
    await recovered(watched.client)
    assert await watched.scrape(HALF_AN_HOUR) == {}


async def test_each_job_is_stale_only_after_its_interval_without_success(watched: Watched) -> None:
    for deployment in SCHEDULED:
        await watched.set_gauge("job_last_success_timestamp_seconds", watched.now, job=deployment["name"])
    page = (await watched.client.get("/metrics")).text
    for deployment in SCHEDULED:
        longest = max(await intervals_of(deployment["schedules"][0]))
        assert deployment["name"] not in stale_jobs(page, watched.now + 1.03 * longest)
        assert deployment["name"] in stale_jobs(page, watched.now + 3.5 * longest)


async def test_a_job_without_a_success_is_stale_from_its_second_failure(
    watched: Watched,
) -> None:
    for outcome, stale in (("failed", False), ("crashed", True)):
        await watched.count("job_runs_total", job="sync-inventory", outcome=outcome)
        assert ("JobStale" in await watched.scrape()) == stale
    await watched.set_gauge("job_last_success_timestamp_seconds", watched.now, job="sync-inventory")
    assert "JobStale" not in await watched.scrape()


def stale_jobs(page: str, at: float) -> set[str]:
    """The jobs for which JobStale fires when the page is scraped at that time; the dashboard shows the same."""
    samples = Samples()
    samples.scrape(page, at)
    found = {labels["job"] for labels in firing(samples, at).get("JobStale", [])}
    shown = evaluate(dict(queries())["Time since the last success, as a share of the limit"], samples, at)
    assert isinstance(shown, dict)
    assert found == {dict(labels)["job"] for labels, share in shown.items() if share > 1}
    return found


async def intervals_of(schedule: dict[str, str]) -> list[float]:
    """The seconds between the first hundred runs of a year."""
    dates = await CronSchedule(**schedule).get_dates(100, start=datetime(2026, 1, 1, tzinfo=UTC))
    return [(after - before).total_seconds() for before, after in pairwise(dates)]


async def test_an_overdue_run_alerts_with_its_job(watched: Watched, prefect: FakePrefect) -> None:
    prefect.overdue = 2
    assert await watched.scrape() == {"SchedulerOverdue": [{"job": "send-reminders", "severity": "page"}]}


async def test_an_empty_schedule_alerts(watched: Watched, prefect: FakePrefect) -> None:
    prefect.upcoming = 0
    assert set(await watched.scrape()) == {"SchedulerEmpty"}


async def test_prefect_whose_queries_fail_alerts(watched: Watched, prefect: FakePrefect) -> None:
    prefect.failing = True
    assert await watched.scrape() == {"PrefectFailing": [{"severity": "page"}]}


async def test_prefect_down_alerts(healthy_settings: Settings, demo: Demo) -> None:
    async with watching(healthy_settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:1"}), demo) as watched:
        assert set(await watched.scrape()) == {"PrefectAway"}


async def test_unrepaired_violations_alert_by_invariant(watched: Watched) -> None:
    await watched.set_gauge("invariant_violations", 0, invariant="invalidations")
    await watched.set_gauge("invariant_violations", 3, invariant="purchases")
    assert await watched.scrape() == {"InvariantsViolated": [{"invariant": "purchases", "severity": "ticket"}]}


async def test_a_shop_throttled_often_alerts_and_one_throttled_once_does_not(
    watched: Watched, simulator_server: tuple[str, FastAPI], shop: ShopRef
) -> None:
    clock = FakeClock()
    watched.app_state.resources.shopify.retry.clock = clock
    simulator = simulator_server[1].state.simulator = Simulator(Options(clock=clock))
    for times, expected in ((1, {}), (8, {"ShopifyThrottling": [{"shop": SHOP, "severity": "ticket"}]})):
        simulator.shops[SHOP].faults.set(faults.Fault(faults.FaultKind.THROTTLE, remaining=times))
        await sync_shop(watched.app_state.resources, shop)
        assert await watched.scrape() == expected


async def test_an_address_off_the_allowlist_pages_at_the_first_query(
    watched: Watched, simulator_server: tuple[str, FastAPI], shop: ShopRef
) -> None:
    simulator_server[1].state.simulator.shops[SHOP].faults.set(faults.Fault(faults.FaultKind.FORBIDDEN))
    with pytest.raises(ShopifyForbidden):
        await sync_shop(watched.app_state.resources, shop)
    assert await watched.scrape() == {"ShopifyForbidden": [{"shop": SHOP, "severity": "page"}]}


async def test_orders_without_a_webhook_alert_by_shop_for_two_hours(watched: Watched) -> None:
    for _ in range(2):
        await watched.count("webhooks_overdue_total", shop=SHOP)
        assert await watched.scrape() == {"WebhooksOverdue": [{"shop": SHOP, "severity": "ticket"}]}
        assert await watched.scrape(2 * HOUR + 15) == {}


@pytest.mark.parametrize(
    ("kind", "runs", "alert"),
    [
        (FaultKind.REJECT, 1, "MailsFailing"),
        (FaultKind.REFUSE, 1, "MailsRefused"),
        (FaultKind.DEFER, 3, "MailsPostponed"),
        (FaultKind.DROP, 1, "MailsHeld"),
    ],
)
async def test_mails_that_are_not_sent_alert_by_outcome(
    watched: Watched,
    healthy_settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    kind: FaultKind,
    runs: int,
    alert: str,
) -> None:
    now = datetime.now(UTC)
    demo.execute("UPDATE registries SET event_date = %s, status = 'active'", [now.date() + timedelta(5)])
    mailbox.faults.set(Fault(kind))
    for _ in range(runs):
        await remind_shop(
            watched.app_state.resources,
            healthy_settings.model_copy(update={"reminder_recovery": "hold"}),
            shop,
            now=now,
        )
    assert set(await watched.scrape()) == {alert}
