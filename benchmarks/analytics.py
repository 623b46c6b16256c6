"""The analytics table: reports in chunks beside plain pandas from one big read, each in its own process.

`python -m benchmarks.analytics STAGE` runs one stage on the database at DATABASE_REPLICA_URL.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson
import pandas as pd
import psycopg
from sqlalchemy import create_engine

from benchmarks.measurement import Measurement, as_json, measure
from deployments.sandbox.postgres import create_analyst_login, postgres
from wishcraft import analytics
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import read_chunks
from wishcraft.domain.periods import last_weeks
from wishcraft.migrations import upgrade
from wishcraft.reports import conversion_report
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.registry_report import RegistryReport
from wishcraft.resources import open_analysts_database
from wishcraft.settings import analysts_url

EVENTS_PER_REGISTRY: Final = 100
_WEEKS: Final = 52
_FILL: Final = """
SET session_replication_role = replica;

INSERT INTO shops (id, domain, name, email, currency, timezone, plan)
SELECT n, 'shop-' || n || '.myshopify.com', 'Shop', 'shop@example.com', (ARRAY['USD', 'EUR', 'JPY'])[n],
    (ARRAY['America/New_York', 'Europe/Paris', 'Asia/Tokyo'])[n], 'plus'
FROM generate_series(1, 3) AS n;

INSERT INTO registries (id, shop_id, slug, title, event_type, event_date, visibility, customer_email,
    customer_first_name, customer_last_name, created_at)
SELECT n, 1 + n % 3, 'r-' || n, 'A registry', (ARRAY['wedding', 'baby', 'birthday', 'holiday'])[1 + n / 3 % 4],
    current_date + (hashint4(n) % 180), 'public', 'a@example.com', 'A', 'B',
    now() - interval '200 days' - abs(hashint4(n) % 100) * interval '1 day'
FROM generate_series(1, {registries}) AS n;

INSERT INTO registry_items (id, shop_id, registry_id, product_id, variant_id, inventory_item_id, handle, product_title,
    variant_title, quantity_wanted, price, currency, tracked, inventory_quantity, inventory_policy, available)
SELECT 15 * (r.id - 1) + i, r.shop_id, r.id, v / 2, v, v, 'h', 'Product ' || v / 2, 'Variant ' || v % 2,
    1 + v % 3, 5 + v % 300, s.currency, true, v % 50, 'deny', true
FROM registries r JOIN shops s ON s.id = r.shop_id, generate_series(1, 15) AS i,
    LATERAL (SELECT (10000 * r.shop_id + abs(hashint4((r.id * 15)::int)) % 1000 + i)::bigint AS v) AS variant;

INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity, unit_price,
    purchaser_email, status, created_at)
SELECT shop_id, registry_id, id, id / 2, id, '#1', 1, price, 'guest' || id % 7 || '@example.com', 'confirmed',
    now() - abs(hashint4(id::int) % 190) * interval '1 day'
FROM registry_items WHERE id % 4 = 0;

INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state)
SELECT shop_id, id, '7_days', event_date, 'a@example.com', 'sent' FROM registries
WHERE event_date < current_date AND id % 5 > 0;

INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id)
SELECT r.shop_id, r.id,
    (ARRAY['registry_viewed', 'registry_viewed', 'item_clicked', 'added_to_cart', 'purchased'])[
        1 + least(4, e % 8)],
    now() - abs(hashint4((r.id * {each} + e)::int) % (86400 * 364)) * interval '1 second',
    md5((r.id * 1000 + e / 4)::text)
FROM registries r, generate_series(1, {each}) AS e;
"""
_BIG_READ: Final = """
SELECT e.registry_id, e.visitor, e.type, e.occurred_at, r.shop_id, r.event_type, s.domain AS shop, s.timezone
FROM analytics.events e JOIN analytics.registries r USING (registry_id) JOIN analytics.shops s ON s.shop_id = r.shop_id
"""


def read() -> int:
    """Lower bound: read the events with `read_chunks` and discard them."""
    with open_analysts_database() as db:
        return sum(len(chunk["events"]) for chunk in read_chunks(db, _last_year(), ("registries", "events")))


def conversion() -> int:
    """The counts of `conversion-report`: visits and the effect of reminders."""
    with open_analysts_database() as db:
        figures = ConversionReport(_last_year(), datetime.now(UTC)).count(db)
    return int(figures.part("funnel")["viewed"].sum())


def registries() -> int:
    """The counts of `registry-report`, over items and purchases."""
    with open_analysts_database() as db:
        return len(RegistryReport(ReportFilter(), datetime.now(UTC)).count(db).fulfilled)


def demand() -> int:
    """The counts of `demand-forecast`."""
    with open_analysts_database() as db:
        return len(DemandReport(ReportFilter(), datetime.now(UTC).date(), 8).count(db).part())


def big_read() -> int:
    """The funnel in plain pandas, from one big read."""
    engine = create_engine(analysts_url())
    events = pd.read_sql(_BIG_READ, engine)
    engine.dispose()
    registries_of = events[["registry_id", "shop", "event_type", "timezone"]].drop_duplicates("registry_id")
    counts = analytics.count_visits(events[["registry_id", "visitor", "type", "occurred_at"]], registries_of)
    return int(analytics.funnel(counts, conversion_report.BY)["viewed"].sum())


STAGES: Final[dict[str, Callable[[], int]]] = {
    "events, read only (floor)": read,
    "conversion, plain pandas from one big read": big_read,
    "conversion-report": conversion,
    "registry-report": registries,
    "demand-forecast": demand,
}


def print_table(registry_count: int) -> None:
    """Fill a new server and measure each stage on it."""
    with tempfile.TemporaryDirectory(prefix="wishcraft-bench-") as folder, postgres(Path(folder), durable=False) as url:
        upgrade(url.replace("postgresql://", "postgresql+psycopg://"))
        events = _fill(url, registry_count)
        environment = os.environ | {
            "DATABASE_REPLICA_URL": create_analyst_login(url, urlsplit(url).path.removeprefix("/"))
        }
        print(
            f"\n{registry_count:,} registries, {events:,} events",
            f"{'what':<44} {'seconds':>8} {'CPU':>7} {'MiB':>6}",
            sep="\n",
        )
        for name in STAGES:
            command = [sys.executable, "-m", "benchmarks.analytics", name]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603  own module
            measured = Measurement(**orjson.loads(done.stdout))
            print(f"{name:<44} {measured.seconds:>8.1f} {measured.cpu:>7.1f} {measured.peak_mib:>6,.0f}", flush=True)


def _fill(url: str, registry_count: int) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _FILL.format(registries=registry_count, each=EVENTS_PER_REGISTRY).split(";\n"):
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")
    return registry_count * EVENTS_PER_REGISTRY


def _last_year() -> ReportFilter:
    return ReportFilter(days=last_weeks(datetime.now(UTC).date(), _WEEKS + 1))


async def _main(name: str) -> None:
    async def work() -> int:
        return STAGES[name]()

    print(as_json(await measure(work)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
