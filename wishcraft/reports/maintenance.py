"""Gathers what the maintenance reports tell of: from PostgreSQL, Redis, and the runs that the caller knows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from wishcraft.cache.inspection import sample_slugs
from wishcraft.errors import CacheUnavailable
from wishcraft.reports.page import NO_DATA, Earlier, Page, Row, Section, compose, percent, verdict
from wishcraft.reports.plots import Days, draw, image
from wishcraft.reports.sections import cache_usage, popularity, runs, storage, traffic, upkeep
from wishcraft.reports.sections.cache_usage import CacheUse, ServerMemory
from wishcraft.reports.sections.popularity import Unviewed, Viewed, Warmed
from wishcraft.reports.sections.runs import Run
from wishcraft.reports.sections.traffic import TrafficTotals
from wishcraft.reports.sections.upkeep import Flaw
from wishcraft.resources import Resources
from wishcraft.services.operations.production_settings import find_misconfigurations
from wishcraft.services.operations.vulnerabilities import audit
from wishcraft.settings import Settings
from wishcraft.store import api_keys, mail_statistics, registry_views, service_minutes, shops, statistics
from wishcraft.store.shops import ShopRef

CACHE_BY_DAY: Final = "daily-report-cache"
CACHE_BY_WEEK: Final = "weekly-report-cache"
SIZES: Final = "weekly-report-sizes"
SIZES_BY_MONTH: Final = "monthly-report-sizes"
"""Tables, by the names under which a later report finds them."""
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
_WORST_MINUTES: Final = 10
_MOST_VIEWED: Final = 5
_UNVIEWED_DAYS: Final = 30
_SLOW_QUERIES: Final = 10
_ENTRIES_LOOKED_AT: Final = 500


async def report_day(resources: Resources, found: Sequence[Run], earlier: Earlier, now: datetime) -> Page:
    """Errors, jobs, mails and the cache over the last 24 hours; `found` are the runs of the last eight days.

    `earlier` is the table `CACHE_BY_DAY` that a report left about a day ago.
    """
    begin = now - DAY
    async with resources.db.repeatable_read() as session:
        served = _served(await service_minutes.sum_days(session, now, 1))
        worst = await service_minutes.find_worst(session, begin, now, _WORST_MINUTES)
        failed = await mail_statistics.find_failures(session, begin, now)
    today = [run for run in found if run.ended >= begin]
    cache, table = await _report_cache(resources, earlier)
    sections = [
        traffic.errors(traffic.total(served.values()), worst),
        runs.failures(today),
        traffic.mails(failed),
        runs.jobs(today, [run for run in found if run.ended < begin]),
        cache,
    ]
    return Page(verdict(sections), compose(sections), {CACHE_BY_DAY: table})


async def report_week(
    resources: Resources, found: Sequence[Run], cache_before: Earlier, sizes_before: Earlier, now: datetime
) -> Page:
    """What changed since the week before; `found` are the runs of the last two weeks.

    `cache_before` and `sizes_before` are the tables `CACHE_BY_WEEK` and `SIZES` that a report left about a week ago.
    """
    async with resources.db.repeatable_read() as session:
        served = _served(await service_minutes.sum_days(session, now, 14))
        slow = await statistics.find_slow_queries(session, _SLOW_QUERIES)
        tables = await statistics.find_tables(session)
        active = await shops.find_active(session)
    week, before = ([part for ago, part in served.items() if ago // 7 == number] for number in (0, 1))
    this_week = [run for run in found if run.ended >= now - WEEK]
    cache, table = await _report_cache(resources, cache_before)
    popular, unread = await _report_views(resources, active)
    sections = [
        traffic.trends(traffic.total(week), traffic.total(before)),
        runs.jobs(this_week, [run for run in found if run.ended < now - WEEK]),
        runs.failures(this_week),
        cache,
        await _report_warming(resources, active),
        popular,
        unread,
        storage.slow_queries(slow),
        storage.sizes(tables, *sizes_before),
    ]
    body = f"{_draw_weeks(served, found, now)}\n\n{compose(sections)}"
    return Page(verdict(sections), body, {CACHE_BY_WEEK: table, SIZES: storage.table_rows(tables)})


async def report_month(resources: Resources, settings: Settings, sizes_before: Earlier, now: datetime) -> Page:
    """How PostgreSQL's tables and indexes are, and what runs out: keys, tokens, dependencies, settings.

    `sizes_before` is the table `SIZES` that a report left weeks ago.
    """
    async with resources.db.repeatable_read() as session:
        tables = await statistics.find_tables(session)
        indexes = await statistics.find_indexes(session)
        since = await statistics.find_counting_since(session)
        keys = await api_keys.find_ages(session)
        tokens = await shops.find_token_ages(session)
    audited = await audit()
    flaws = [Flaw(each.package, each.version, each.id, each.fixed_in) for each in audited.vulnerabilities]
    sections = [
        storage.missing_indexes(tables),
        storage.unused_indexes(indexes, since),
        storage.bloated_indexes(indexes),
        storage.dead_rows(tables),
        storage.sizes(tables, *sizes_before),
        upkeep.dependencies(audited.packages, flaws, audited.unreachable),
        upkeep.keys(keys, now),
        upkeep.tokens(tokens, now),
        upkeep.settings(find_misconfigurations(settings)),
    ]
    return Page(verdict(sections), compose(sections), {SIZES_BY_MONTH: storage.table_rows(tables)})


def _served(days: Mapping[int, service_minutes.Day]) -> dict[int, TrafficTotals]:
    return {
        ago: TrafficTotals(
            day.served.requests,
            day.served.errors,
            day.served.hits + day.served.stale,
            day.served.hits + day.served.stale + day.served.misses + day.served.bypassed,
        )
        for ago, day in days.items()
    }


async def _report_cache(resources: Resources, earlier: Earlier) -> tuple[Section, list[Row]]:
    """How the shops use the cache since the earlier report, and the rows for the next one."""
    async with resources.db.repeatable_read() as session:
        active = await shops.find_active(session)
    try:
        uses, memory = await _uses(resources, active), await _memory(resources)
    except CacheUnavailable:
        text = "Redis did not answer: `/health` tells how it is."
        return Section("Cache", text, finding="Redis, which does not answer"), []
    return cache_usage.section(cache_usage.since(uses, earlier.rows), memory, earlier.at), cache_usage.rows(uses)


async def _uses(resources: Resources, active: Sequence[ShopRef]) -> list[CacheUse]:
    used = await resources.usage.read([shop.id for shop in active])
    return [
        CacheUse(
            shop.domain,
            use.hits + use.stale + use.misses + use.bypassed,
            use.hits + use.stale,
            use.evictions,
            use.entries,
            shop.settings.cache_quota_entries,
            use.bytes_held,
            shop.settings.cache_quota_bytes,
        )
        for shop in active
        for use in [used[shop.id]]
    ]


async def _memory(resources: Resources) -> ServerMemory:
    memory = await resources.redis.memory()
    return ServerMemory(memory.used, memory.limit, memory.evictions)


async def _report_views(resources: Resources, active: Sequence[ShopRef]) -> tuple[Section, Section]:
    viewed: list[Viewed] = []
    unread: list[Unviewed] = []
    for shop in active:
        async with resources.db.repeatable_read() as session:
            most = await registry_views.find_most_viewed(session, shop.id, WEEK.days, _MOST_VIEWED)
            never = await registry_views.find_unviewed(session, shop.id, _UNVIEWED_DAYS, _MOST_VIEWED)
        viewed += [Viewed(shop.domain, *each) for each in most]
        unread.append(Unviewed(shop.domain, *never))
    return popularity.most_viewed(viewed), popularity.unviewed(unread)


async def _report_warming(resources: Resources, active: Sequence[ShopRef]) -> Section:
    warmed: list[Warmed] = []
    try:
        for shop in active:
            slugs = await sample_slugs(resources.redis, shop.id, _ENTRIES_LOOKED_AT)
            async with resources.db.repeatable_read() as session:
                read = await registry_views.count_viewed(session, shop.id, slugs, WEEK.days)
            warmed.append(Warmed(shop.domain, len(slugs), read))
    except CacheUnavailable:
        return Section("What warming is worth", "Redis did not answer.")
    return popularity.warming(warmed)


def _draw_weeks(served: Mapping[int, TrafficTotals], found: Sequence[Run], now: datetime) -> str:
    """The last two weeks day by day."""
    agos = list(reversed(range(14)))
    days = [(now - ago * DAY - DAY / 2).date() for ago in agos]
    counted = runs.by_days_ago(found, now)
    requests = [float(served[ago].requests) if ago in served else None for ago in agos]
    hits = [100 * part.hits / part.reads if (part := served.get(ago, TrafficTotals())).reads else None for ago in agos]
    done = [float(len(counted.get(ago, []))) for ago in agos]
    success = [runs.success(counted.get(ago, [])) for ago in agos]
    latest = NO_DATA if requests[-1] is None else f"{requests[-1]:,.0f} in a day"
    panels = [
        Days("Requests", latest, days, requests, "", above=False),
        Days("Hits in the cache", _said(hits[-1]), days, hits, "%", 100 * cache_usage.GOOD_HIT_RATIO),
        Days("Runs of jobs", f"{done[-1]:,.0f} in a day", days, done, "", above=False),
        Days("Success of runs", _said(success[-1]), days, success, "%", runs.GOOD_SUCCESS),
    ]
    return image(draw(panels), "Day by day over two weeks: requests, hits in the cache, runs of jobs, their success")


def _said(value: float | None) -> str:
    return NO_DATA if value is None else percent(value, 100)
