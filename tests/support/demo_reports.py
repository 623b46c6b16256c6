"""Maintenance reports with something in every section, as on a bad day of a large installation."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from wishcraft.domain.service_levels import DAYS, Count, ServiceLevel, Tally, assess
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports import service_levels
from wishcraft.reports.html import Report
from wishcraft.reports.page import Section, render_sections, verdict
from wishcraft.reports.plots import TimeSeries, draw, markdown_image
from wishcraft.reports.sections import cache_usage, popularity, runs, security, storage, traffic
from wishcraft.reports.titles import TITLES
from wishcraft.services.operations.vulnerabilities import AuditResult, Vulnerability
from wishcraft.store.api_keys import KeyAge
from wishcraft.store.mail_events import ShopOutcomes
from wishcraft.store.mail_statistics import FailedMails
from wishcraft.store.service_minutes import BadMinute
from wishcraft.store.shops import TokenAge
from wishcraft.store.statistics import IndexUse, SlowQuery, TableUse
from wishcraft.store.webhook_dead_letters import DeadLetter

NOW: Final = datetime(2026, 3, 14, 12, tzinfo=UTC)
LINK: Final = "http://127.0.0.1:4200/v2/artifacts/artifact/018f3b1e-9d7c-7c6a-a2f4-6b1f0c9e2d11"
_DAY: Final = timedelta(days=1)
_SHOPS: Final = ("maple-and-pine.myshopify.com", "the-very-long-name-of-a-shop-for-gifts.myshopify.com")
_TRAFFIC: Final = traffic.TrafficTotals(1_234_567, 89, 900_000, 1_000_000)
_CACHE: Final = cache_usage.section(
    [cache_usage.CacheUse(shop, 1_234_567, 300_000, 98_765, 48_000, 12_345, 50_000, 2**28, 2**28) for shop in _SHOPS],
    cache_usage.ServerMemory(95 * 2**20, 100 * 2**20, 12_345),
    NOW - _DAY,
)
_REASON: Final = "Mail refused: 550 5.7.26 This mail has been blocked because the sender is unauthenticated " * 3
_RUNS: Final = [
    runs.Run("webhook-dead-letters", "exuberant-woodpecker", "failed", NOW - _DAY / 2, 4321, _REASON, LINK),
    runs.Run("sync-inventory", "calm-otter", "crashed", NOW - _DAY / 3, 12, "", LINK),
    runs.Run("cache-warm", "calm-otter", "completed", NOW - _DAY / 4, 0.2, "", LINK),
]
_TABLES: Final = [
    TableUse(name, 12_345_678, 9_876_543, NOW, 123_456, 987_654_321, 4_321, 2**36, 2**34)
    for name in ("analytics_events_2026_03", "pending_invalidations")
]
_INDEXES: Final = [IndexUse("analytics_events_registry_id_created_at_idx", "analytics_events", 0, False, 2**32, 2**29)]  # noqa: FBT003


def _daily() -> list[Section]:
    return [
        traffic.errors(_TRAFFIC, [BadMinute(NOW, 12, 3_456)]),
        runs.failures(_RUNS),
        traffic.mails([FailedMails(shop, _REASON, 1_234) for shop in _SHOPS]),
        traffic.outcomes([ShopOutcomes(shop, 123_456, 7_890, 12, 345) for shop in _SHOPS], _SHOPS),
        traffic.dead_letters(
            [DeadLetter(1, _SHOPS[1], "mail-events", NOW, 10, [{"reason": _REASON}], has_payload=True)], 12
        ),
        runs.jobs(_RUNS, _RUNS),
        _CACHE,
    ]


def _weekly() -> list[Section]:
    slugs = ["emma-and-hugos-wedding-4x7k2p", "yuis-birthday-9s3m1q", "a-baby-for-the-martins-5t2w8r"]
    return [
        traffic.trends(_TRAFFIC, _TRAFFIC),
        _CACHE,
        popularity.warming([popularity.Warmed(shop, 500, 20) for shop in _SHOPS]),
        popularity.most_viewed([popularity.Viewed(shop, 1_234_567, slugs[0], 98_765) for shop in _SHOPS]),
        popularity.unviewed([popularity.Unviewed(shop, 12_345, 678, slugs) for shop in _SHOPS]),
        storage.slow_queries([SlowQuery(f"SELECT {'registries.registrant_name, ' * 9}id", 9_876_543, 1e7, 12.3, 4e4)]),
        storage.sizes(_TABLES, [], NOW - 7 * _DAY),
    ]


def _monthly() -> list[Section]:
    found = Vulnerability("python-multipart", "0.0.18", "GHSA-59g5-xgcq-4qw3", ("0.0.19", "0.1.0"), "")
    return [
        storage.missing_indexes(_TABLES),
        storage.unused_indexes(_INDEXES, NOW - 90 * _DAY),
        storage.bloated_indexes(_INDEXES),
        storage.dead_rows(_TABLES),
        security.dependencies(AuditResult(99, (found,))),
        security.keys([KeyAge(shop, "wc_live_4f6a", NOW - 90 * _DAY, NOW + 9 * _DAY, NOW) for shop in _SHOPS], NOW),
        security.tokens([TokenAge(shop, False, False, None) for shop in _SHOPS], NOW),  # noqa: FBT003
        security.settings([("REGISTRATION_CONFIRMATION_URL", "It is http://127.0.0.1:8000: use https://.")]),
    ]


def _plot() -> str:
    days = [(NOW - ago * _DAY).date() for ago in range(14, 0, -1)]
    values = [float(1000 + 37 * (place % 5)) for place in range(14)]
    return markdown_image(draw([TimeSeries("Requests", "1,037 in a day", days, values, "", above=False)]), "Requests")


def _service_levels() -> Report:
    counts = {level: Count(1440, 3) if level is ServiceLevel.UPTIME else Count(100_000, 321) for level in ServiceLevel}
    days = [Tally(counts, [90_000, *[100] * len(LATENCY_BOUNDS)])] * DAYS
    assessments = assess(days, LATENCY_BOUNDS)
    parts = (service_levels.overview(assessments), service_levels.draw_days(days, NOW), service_levels.explanation(NOW))
    return Report(TITLES["service-levels"], service_levels.verdict(assessments), "\n\n".join(parts), LINK)


def maintenance_reports() -> Mapping[str, Report]:
    """The reports by their jobs."""
    pages = {"daily-report": _daily(), "weekly-report": _weekly(), "monthly-report": _monthly()}
    return {
        job: Report(TITLES[job], verdict("Up to 14 March", parts), f"{_plot()}\n\n{render_sections(parts)}", LINK)
        for job, parts in pages.items()
    } | {"service-levels": _service_levels()}
