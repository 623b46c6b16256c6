import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Demo
from wishcraft.cache.registries import CacheState
from wishcraft.cache.usage import ReadCounts
from wishcraft.reports.maintenance import CACHE_BY_DAY, SIZES, build_daily, build_monthly, build_weekly
from wishcraft.reports.page import Page, PreviousTable, short_name
from wishcraft.reports.sections.runs import Run, by_days_ago
from wishcraft.resources import Resources, open_resources
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.operations.vulnerabilities import AuditResult
from wishcraft.services.registries.warm import warm_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

NO_TABLE = PreviousTable()
FAILED = Run(
    "send-reminders", "calm-otter", "failed", datetime.now(UTC) - timedelta(hours=2), 3.0,
    "MailRefused: 550 no such user jo@example.com", "http://prefect/1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit without a network."""

    async def unreachable() -> AuditResult:
        return AuditResult(unreachable="no route to osv.dev")

    monkeypatch.setattr("wishcraft.reports.maintenance.audit", unreachable)


async def all_pages(resources: Resources, settings: Settings) -> list[Page]:
    now = datetime.now(UTC)
    return [
        await build_daily(resources, [FAILED], NO_TABLE, now),
        await build_weekly(resources, [FAILED], NO_TABLE, NO_TABLE, now),
        await build_monthly(resources, settings, NO_TABLE, now),
    ]


def section(page: Page, title: str) -> str:
    return page.body.split(f"## {title}\n")[1].split("\n## ")[0]


def serve(demo: Demo, minutes_ago: int, requests: int, errors: int) -> None:
    demo.execute(
        "INSERT INTO service_minutes VALUES (now() - %s * interval '1 minute', true, %s, %s, '{0}', 60, 10, 20, 10)",
        [minutes_ago, requests, errors],
    )


@pytest.fixture(autouse=True)
def nothing_served(demo: Demo) -> Iterator[None]:
    demo.execute("TRUNCATE service_minutes")
    yield
    demo.execute("TRUNCATE service_minutes")


@pytest.fixture
def minutes(demo: Demo, nothing_served: None) -> None:
    """One minute of today with errors, one without, and one of the week before."""
    assert nothing_served is None
    serve(demo, 10, 100, 4)
    serve(demo, 20, 50, 0)
    serve(demo, 8 * 1440, 1000, 9)


@pytest.mark.usefixtures("minutes")
async def test_daily_report_has_errors_failed_runs_and_failed_mails(resources: Resources, demo: Demo) -> None:
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, last_error)
           SELECT shop_id, id, 'week', current_date, 'jo@example.com', 'failed', '550 no such user'
           FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1"""
    )
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at,
               outcome, outcome_at)
           SELECT r.shop_id, r.id, 'day', current_date, 'jo' || n || '@example.com', 'sent',
               now() - interval '1 hour' * n, CASE n WHEN 1 THEN 'bounced' END,
               CASE n WHEN 1 THEN now() - interval '1 hour' END  -- a mail server reports no delivery
           FROM generate_series(1, 30) n, (SELECT * FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1) r"""
    )
    page = await build_daily(resources, [FAILED], NO_TABLE, datetime.now(UTC))
    assert "| maple-and-pine | 23 | 1 | 0 | 0 |" in section(page, "What became of mails")  # of the last 24 h
    assert re.fullmatch(
        r"24 hours up to \d{4}-\d\d-\d\d \d\d:\d\d E[SD]T: look at 4 errors; 1 failed run; 1 failed mail\.",
        page.verdict,
    )
    assert re.match(r"From \d.* E[SD]T to .* E[SD]T, unless", page.body)
    assert "4 errors (5xx) in 150 requests: 2.67 %" in section(page, "Errors of the API")
    assert "| maple-and-pine | 1 | 550 no such user |" in section(page, "Failed mails")


async def test_run_belongs_to_the_report_of_the_period_in_which_it_ended(resources: Resources) -> None:
    now = datetime.now(UTC)
    began = now - timedelta(hours=24, seconds=2)
    late = FAILED._replace(ended=began + timedelta(seconds=62), seconds=62.0)
    day = await build_daily(resources, [late], NO_TABLE, now)
    assert day.verdict.endswith(": look at 1 failed run.")
    assert "| send-reminders | 1 | 0 % |" in section(day, "Jobs")
    long = late._replace(ended=late.ended - timedelta(days=6))
    week = await build_weekly(resources, [long], NO_TABLE, NO_TABLE, now)
    assert "1 failed run" in week.verdict
    assert by_days_ago([late, long], now) == {0: [late], 6: [long]}


async def test_cache_section_counts_from_the_previous_report(resources: Resources, shop: ShopRef) -> None:
    await warm_shop(resources, shop)
    await resources.usage.add({shop.id: ReadCounts(hits=80, stale=10, misses=8, bypassed=2)}, {})
    first = await build_daily(resources, [], NO_TABLE, datetime.now(UTC))
    assert f"| {short_name(shop.domain)} | 90.00 % of 100 reads | 0 | 4 (" in section(first, "Cache")
    await resources.usage.add({shop.id: ReadCounts(hits=10, misses=190)}, {})
    later = await build_daily(
        resources, [], PreviousTable(first.tables[CACHE_BY_DAY], datetime.now(UTC)), datetime.now(UTC)
    )
    assert f"| {short_name(shop.domain)} | 5.00 % of 200 reads | 0 | 4 (" in section(later, "Cache")
    assert later.verdict.endswith(": look at 1 shop with few hits in the cache.")


@pytest.mark.usefixtures("minutes")
async def test_weekly_report_compares_with_the_week_before_and_has_a_plot(
    resources: Resources, shop: ShopRef, demo: Demo
) -> None:
    tracker = TrafficRecorder(resources)
    [(slug,)] = demo.execute("SELECT slug FROM registries WHERE shop_id = %s ORDER BY id LIMIT 1", [shop.id]).fetchall()
    demo.execute("UPDATE registries SET visibility = 'public', status = 'active'")
    await warm_shop(resources, shop)
    tracker.count_read(shop.id, slug, CacheState.HIT, 1)
    await tracker.flush()
    page = await build_weekly(resources, [FAILED], NO_TABLE, NO_TABLE, datetime.now(UTC))
    assert "| requests | 150 | 1,000 |" in section(page, "This week and the one before")
    assert "| errors (5xx) | 2.67 % | 0.90 % |" in section(page, "This week and the one before")
    assert re.match(r"7 days up to .*\d\d:\d\d E[SD]T: look at 4 errors; 1 failed run", page.verdict)
    assert page.body.partition("\n\n")[2].startswith("![Day by day over two weeks")
    assert f"| {slug} | 1 |" in section(page, "Most viewed registries")
    assert f"| {short_name(shop.domain)} | 4 | 25.00 % |" in section(page, "What warming is worth")
    assert {row["table"] for row in page.tables[SIZES]} >= {"registries", "purchases"}


async def test_monthly_report_has_expiring_keys_and_tokens_and_a_failed_audit(
    resources: Resources, settings: Settings, demo: Demo
) -> None:
    demo.execute(
        """INSERT INTO api_keys (shop_id, name, prefix, key_hash, scopes, expires_at, successor)
           VALUES (1, 'Chloe''s', 'abcdef012345', '', '{read}', now() + interval '5 days', NULL),
               (1, 'Replaced', 'fedcba543210', '', '{read}', now() + interval '5 days', 'abcdef012345')"""
    )
    demo.execute("UPDATE shops SET access_token_encrypted = NULL WHERE id = 2")
    page = await build_monthly(resources, settings, NO_TABLE, datetime.now(UTC))
    assert page.verdict.startswith("State of ")
    assert page.verdict.endswith("the dependencies, which could not be checked; 1 API key; 1 shop token.")
    assert "| maple-and-pine | abcdef012345 | expires at" in section(page, "API keys")
    assert "| lumiere-maison | has none |" in section(page, "Shops' tokens")
    assert "gave no usable answer (no route to osv.dev)" in section(page, "Dependencies")


async def test_maintenance_reports_contain_no_personal_data(
    resources: Resources, settings: Settings, demo: Demo
) -> None:
    demo.execute("UPDATE registries SET visibility = 'unlisted', created_at = now() - interval '60 days'")
    demo.execute("UPDATE registries SET visibility = 'public' WHERE id = (SELECT min(id) FROM registries)")
    demo.execute(
        """INSERT INTO registry_views (shop_id, registry_id, day, views)
           SELECT shop_id, id, current_date, 9 FROM registries WHERE id % 2 = 0"""
    )
    private = """
        SELECT unnest(ARRAY[title, customer_email, customer_last_name, event_location]) FROM registries
        UNION SELECT slug FROM registries WHERE visibility <> 'public'
        UNION SELECT jsonb_path_query(co_registrants, '$[*].email') #>> '{}' FROM registries
        UNION SELECT unnest(ARRAY[purchaser_name, purchaser_email]) FROM purchases
        UNION SELECT email FROM shops
    """
    text = "".join(f"{page}" for page in await all_pages(resources, settings))
    text = re.sub(r"base64,[\w+/=]+", "", text)  # of the charts, in which short names occur by chance
    public = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE visibility = 'public'")]
    for slug in public:
        text = text.replace(slug, "")
    secrets = [value for (value,) in demo.execute(private.encode()) if value]
    assert secrets
    assert [value for value in secrets if value in text] == []
    assert "jo@example.com" not in text


async def test_maintenance_reports_without_redis_say_that_it_does_not_answer(settings: Settings, demo: Demo) -> None:
    async with open_resources(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as resources:
        day, week, month = await all_pages(resources, settings)
    assert day.verdict.endswith(": look at 1 failed run; Redis, which does not answer.")
    assert (*day.tables, *week.tables) == (SIZES,)  # a table without rows would be the one that the next report reads
    assert "Redis did not answer" in section(week, "What warming is worth")
    assert month.verdict.endswith("the dependencies, which could not be checked.")


async def test_daily_report_names_the_shops_that_complaints_pause_and_no_others(
    resources: Resources, demo: Demo
) -> None:
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, outcome, outcome_at)
           SELECT r.shop_id, r.id, 'day', current_date, 'jo' || n || '@example.com', 'sent', 'complained',
               now() - interval '3 days'
           FROM generate_series(1, 3) n, (SELECT * FROM registries WHERE shop_id < 3 ORDER BY id) r
           WHERE r.id IN (SELECT min(id) FROM registries GROUP BY shop_id) AND (r.shop_id = 1 OR n < 3)"""
    )
    page = await build_daily(resources, [], NO_TABLE, datetime.now(UTC))
    assert "no mail of maple-and-pine, which complaints pause" in page.verdict
    assert "lumiere" not in page.verdict
