"""The daily, weekly and monthly maintenance reports, from PostgreSQL, Redis and the jobs' runs.

The caller reads the runs and the previous tables from Prefect.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from wishcraft.cache.inspection import sample_slugs
from wishcraft.domain import times
from wishcraft.domain.mail_reputation import COMPLAINT_PERIOD, MIN_COMPLAINTS
from wishcraft.errors import CacheUnavailable
from wishcraft.reports.page import NO_DATA, Page, PreviousTable, Row, Section, format_percent, render_sections, verdict
from wishcraft.reports.sections import cache_usage, popularity, runs, security, storage, traffic
from wishcraft.reports.sections.cache_usage import CacheUse, ServerMemory
from wishcraft.reports.sections.popularity import Unviewed, Viewed, Warmed
from wishcraft.reports.sections.runs import Run
from wishcraft.reports.sections.traffic import TrafficTotals
from wishcraft.resources import Resources
from wishcraft.services.mail.reputation import is_paused
from wishcraft.services.operations.production_settings import find_misconfigurations
from wishcraft.services.operations.vulnerabilities import audit
from wishcraft.settings import Settings, time_zone
from wishcraft.store import (
    api_keys,
    mail_events,
    mail_statistics,
    registry_views,
    service_minutes,
    shops,
    statistics,
    webhook_dead_letters,
)
from wishcraft.store.shops import ShopRef

CACHE_BY_DAY: Final = "daily-report-cache"
CACHE_BY_WEEK: Final = "weekly-report-cache"
SIZES: Final = "weekly-report-sizes"
SIZES_BY_MONTH: Final = "monthly-report-sizes"
"""Artifact keys of the tables that later reports compare with."""
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
_WORST_MINUTES: Final = 10
_LISTED_REGISTRIES: Final = 5
_UNVIEWED_DAYS: Final = 30
_LISTED_DEAD_LETTERS: Final = 10
_SLOW_QUERIES: Final = 10
_SAMPLED_ENTRIES: Final = 500
"""Per shop, for the section on warming."""


async def build_daily(
    resources: Resources, recent_runs: Sequence[Run], previous_cache: PreviousTable, now: datetime
) -> Page:
    """Build the report on errors, jobs, mails and the cache over the last 24 hours.

    Args:
        resources: Clients of the stores.
        recent_runs: The runs of the last eight days.
        previous_cache: The table `CACHE_BY_DAY` of about a day ago.
        now: The end of the 24 hours.
    """
    begin = now - DAY
    async with resources.db.repeatable_read() as session:
        served = _traffic_by_day(await service_minutes.sum_days(session, now, 1))
        worst = await service_minutes.find_worst(session, begin, now, _WORST_MINUTES)
        failed = await mail_statistics.find_failures(session, begin, now)
        outcomes = await mail_events.count_outcomes_by_shop(session, begin, now)
        dead, all_dead = await webhook_dead_letters.find_dead(session, None, _LISTED_DEAD_LETTERS)
        weekly = await mail_events.count_outcomes_by_shop(session, now - COMPLAINT_PERIOD, now)
        complained = {each.shop for each in weekly if each.complained >= MIN_COMPLAINTS}
        suspects = [shop for shop in await shops.find_active(session) if shop.domain in complained]
    paused = [shop.domain for shop in suspects if await is_paused(resources, shop)]
    today = [run for run in recent_runs if run.ended >= begin]
    cache, cache_table = await _cache_section(resources, previous_cache)
    sections = [
        traffic.errors(traffic.total(served.values()), worst, time_zone()),
        runs.failures(today, time_zone()),
        traffic.mails(failed),
        traffic.outcomes(outcomes, paused),
        traffic.dead_letters(dead, all_dead),
        runs.jobs(today, [run for run in recent_runs if run.ended < begin]),
        cache,
    ]
    return Page(
        verdict(f"24 hours up to {_moment(now)}", sections),
        f"{_period(begin, now)}\n\n{render_sections(sections)}",
        {CACHE_BY_DAY: cache_table} if cache_table is not None else {},
    )


async def build_weekly(
    resources: Resources,
    recent_runs: Sequence[Run],
    previous_cache: PreviousTable,
    previous_sizes: PreviousTable,
    now: datetime,
) -> Page:
    """Build the report on the last seven days, compared with the seven before.

    Args:
        resources: Clients of the stores.
        recent_runs: The runs of the last two weeks.
        previous_cache: The table `CACHE_BY_WEEK` of about a week ago.
        previous_sizes: The table `SIZES` of about a week ago.
        now: The end of the week.
    """
    async with resources.db.repeatable_read() as session:
        served = _traffic_by_day(await service_minutes.sum_days(session, now, 14))
        slow = await statistics.find_slow_queries(session, _SLOW_QUERIES)
        tables = await statistics.find_tables(session)
        active = await shops.find_active(session)
    week, before = ([part for days_ago, part in served.items() if days_ago // 7 == number] for number in (0, 1))
    this_week = [run for run in recent_runs if run.ended >= now - WEEK]
    cache, cache_table = await _cache_section(resources, previous_cache)
    most_viewed, unviewed = await _view_sections(resources, active)
    sections = [
        traffic.trends(traffic.total(week), traffic.total(before)),
        runs.jobs(this_week, [run for run in recent_runs if run.ended < now - WEEK]),
        runs.failures(this_week, time_zone()),
        cache,
        await _warming_section(resources, active),
        most_viewed,
        unviewed,
        storage.slow_queries(slow),
        storage.sizes(tables, *previous_sizes, time_zone()),
    ]
    tables_of_cache = {CACHE_BY_WEEK: cache_table} if cache_table is not None else {}
    body = f"{_period(now - WEEK, now)}\n\n{_draw_weeks(served, recent_runs, now)}\n\n{render_sections(sections)}"
    return Page(
        verdict(f"7 days up to {_moment(now)}", sections),
        body,
        {**tables_of_cache, SIZES: storage.table_rows(tables)},
    )


async def build_monthly(resources: Resources, settings: Settings, previous_sizes: PreviousTable, now: datetime) -> Page:
    """Build the report on PostgreSQL's tables and indexes, dependencies, keys, tokens and settings.

    Args:
        resources: Clients of the stores.
        settings: The worker's settings, which are checked.
        previous_sizes: The table `SIZES` of some weeks ago.
        now: The time from which expiries count.
    """
    async with resources.db.repeatable_read() as session:
        tables = await statistics.find_tables(session)
        indexes = await statistics.find_indexes(session)
        since = await statistics.find_counting_since(session)
        keys = await api_keys.find_ages(session)
        tokens = await shops.find_token_ages(session)
    sections = [
        storage.missing_indexes(tables),
        storage.unused_indexes(indexes, since, time_zone()),
        storage.bloated_indexes(indexes),
        storage.dead_rows(tables, time_zone()),
        storage.sizes(tables, *previous_sizes, time_zone()),
        security.dependencies(await audit()),
        security.keys(keys, now, time_zone()),
        security.tokens(tokens, now, time_zone()),
        security.settings(find_misconfigurations(settings)),
    ]
    return Page(
        verdict(f"State of {_moment(now)}", sections),
        render_sections(sections),
        {SIZES_BY_MONTH: storage.table_rows(tables)},
    )


def _period(begin: datetime, end: datetime) -> str:
    """The sentence that gives the period of the figures."""
    return f"From {_moment(begin)} to {_moment(end)}, unless a section says otherwise."


def _moment(when: datetime) -> str:
    return times.minute(when, time_zone())


def _traffic_by_day(days: Mapping[int, service_minutes.Day]) -> dict[int, TrafficTotals]:
    return {
        days_ago: TrafficTotals(
            day.served.requests,
            day.served.errors,
            day.served.hits + day.served.stale,
            day.served.hits + day.served.stale + day.served.misses + day.served.bypassed,
        )
        for days_ago, day in days.items()
    }


async def _cache_section(resources: Resources, previous: PreviousTable) -> tuple[Section, list[Row] | None]:
    """The cache since the previous report, and the rows for the next one; None if Redis does not answer.

    The next one then counts from the last table that there is: an empty one would count from the beginning.
    """
    async with resources.db.repeatable_read() as session:
        active = await shops.find_active(session)
    try:
        uses, memory = await _read_uses(resources, active), await _read_memory(resources)
    except CacheUnavailable:
        text = "Redis did not answer: see `/health`."
        return Section("Cache", text, finding="Redis, which does not answer"), None
    section = cache_usage.section(cache_usage.since(uses, previous.rows), memory, previous.created_at, time_zone())
    return section, cache_usage.rows(uses)


async def _read_uses(resources: Resources, active: Sequence[ShopRef]) -> list[CacheUse]:
    usage = await resources.usage.read([shop.id for shop in active])
    return [
        CacheUse(
            shop.domain,
            use.hits + use.stale + use.misses + use.bypassed,
            use.hits + use.stale,
            use.evictions,
            use.entries + use.products,
            use.products,
            shop.settings.cache_quota_entries,
            use.bytes_held,
            shop.settings.cache_quota_bytes,
        )
        for shop in active
        for use in [usage[shop.id]]
    ]


async def _read_memory(resources: Resources) -> ServerMemory:
    memory = await resources.redis.memory()
    return ServerMemory(memory.used, memory.limit, memory.evictions)


async def _view_sections(resources: Resources, active: Sequence[ShopRef]) -> tuple[Section, Section]:
    most_viewed: list[Viewed] = []
    unviewed: list[Unviewed] = []
    for shop in active:
        async with resources.db.repeatable_read() as session:
            viewed = await registry_views.find_most_viewed(session, shop.id, WEEK.days, _LISTED_REGISTRIES)
            never = await registry_views.find_unviewed(session, shop.id, _UNVIEWED_DAYS, _LISTED_REGISTRIES)
        most_viewed += [Viewed(shop.domain, *each) for each in viewed]
        unviewed.append(Unviewed(shop.domain, *never))
    return popularity.most_viewed(most_viewed), popularity.unviewed(unviewed)


async def _warming_section(resources: Resources, active: Sequence[ShopRef]) -> Section:
    warmed: list[Warmed] = []
    try:
        for shop in active:
            slugs = await sample_slugs(resources.redis, shop.id, _SAMPLED_ENTRIES)
            async with resources.db.repeatable_read() as session:
                read = await registry_views.count_viewed(session, shop.id, slugs, WEEK.days)
            warmed.append(Warmed(shop.domain, len(slugs), read))
    except CacheUnavailable:
        return Section("What warming is worth", "Redis did not answer.")
    return popularity.warming(warmed)


def _draw_weeks(served: Mapping[int, TrafficTotals], recent_runs: Sequence[Run], now: datetime) -> str:
    """Draw the last two weeks day by day."""
    from wishcraft.reports.plots import TimeSeries, draw, markdown_image  # here: matplotlib takes a second

    days_ago = list(reversed(range(14)))
    last = (now - DAY / 2).astimezone(time_zone()).date()
    days = [last - ago * DAY for ago in days_ago]
    by_day = runs.by_days_ago(recent_runs, now)
    traffic_by_day = [served.get(ago) for ago in days_ago]
    requests = [None if day is None else float(day.requests) for day in traffic_by_day]
    hits = [100 * day.hits / day.reads if day and day.reads else None for day in traffic_by_day]
    counts = [float(len(by_day.get(ago, []))) for ago in days_ago]
    success = [runs.success(by_day.get(ago, [])) for ago in days_ago]
    latest = NO_DATA if requests[-1] is None else f"{requests[-1]:,.0f} in a day"
    panels = [
        TimeSeries("Requests", latest, days, requests, "", above=False),
        TimeSeries("Hits in the cache", _format_latest(hits[-1]), days, hits, "%", 100 * cache_usage.GOOD_HIT_RATIO),
        TimeSeries("Runs of jobs", f"{counts[-1]:,.0f} in a day", days, counts, "", above=False),
        TimeSeries("Success of runs", _format_latest(success[-1]), days, success, "%", runs.GOOD_SUCCESS),
    ]
    return markdown_image(
        draw(panels), "Day by day over two weeks: requests, hits in the cache, runs of jobs, their success"
    )


def _format_latest(value: float | None) -> str:
    return NO_DATA if value is None else format_percent(value, 100)
