from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from wishcraft.reports.page import (
    MAX_CHARACTERS,
    MAX_ROWS,
    Section,
    format_bytes,
    format_duration,
    format_percent,
    plural,
    pluralize,
    redacted_line,
    render_sections,
    verdict,
)
from wishcraft.reports.sections import cache_usage, popularity, runs, security, traffic
from wishcraft.reports.sections.cache_usage import CacheUse, ServerMemory
from wishcraft.reports.sections.popularity import Unviewed, Viewed, Warmed
from wishcraft.reports.sections.runs import Run
from wishcraft.reports.sections.traffic import TrafficTotals
from wishcraft.services.operations.vulnerabilities import AuditResult, Vulnerability
from wishcraft.store.api_keys import KeyAge
from wishcraft.store.mail_events import ShopOutcomes
from wishcraft.store.mail_statistics import FailedMails
from wishcraft.store.service_minutes import BadMinute
from wishcraft.store.shops import TokenAge
from wishcraft.store.webhook_dead_letters import DeadLetter

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROOMY = ServerMemory(10, 100, 0)


def a_run(job: str = "cache-warm", outcome: str = "completed", ago: timedelta = HOUR, message: str = "") -> Run:
    return Run(job, "calm-otter", outcome, NOW - ago, 2.0, message, "http://prefect/runs/1", is_scheduled=True)


def token_age(expires_at: datetime | None, *, has_token: bool, can_renew: bool) -> TokenAge:
    return TokenAge("a.example", has_token, can_renew, expires_at)


def use(reads: int = 1000, hits: int = 900, evictions: int = 0, entries: int = 10) -> CacheUse:
    return CacheUse("a.example", reads, hits, evictions, entries, 4, 100, 1000, 100_000)


def test_verdict_lists_the_findings() -> None:
    parts = [Section("Jobs", "Well."), Section("Mails", "Bad.", finding="2 failed mails")]
    assert verdict("24 hours", parts) == "24 hours: look at 2 failed mails."
    assert verdict("24 hours", parts[:1]) == "24 hours: nothing needs to be done."


def test_long_table_is_cut_and_its_cells_are_escaped() -> None:
    page = render_sections([Section("T", "Text.", ("a",), [(f"x|{n}",) for n in range(MAX_ROWS + 2)])])
    assert page.startswith("## T\n\nText.\n\n| a |\n| --- |\n| x\\|0 |")
    assert page.endswith("And 2 more.")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 2, "50 %"),
        (9999, 10_000, "99.99 %"),
        (99_999, 100_000, "99.99 %"),
        (3, 40_253, "0.01 %"),
        (1, 100_000, "under 0.01 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (0, 0, "no data"),
    ],
)
def test_only_exact_shares_are_shown_as_0_or_100_percent(part: int, whole: int, text: str) -> None:
    assert format_percent(part, whole) == text


def test_plural_of_a_noun_follows_its_ending() -> None:
    nouns = ("more run", "API key", "entry", "index", "miss")
    assert [plural(noun) for noun in nouns] == ["more runs", "API keys", "entries", "indexes", "misses"]


def test_bytes_durations_and_counts_are_formatted_with_units() -> None:
    assert [format_bytes(n) for n in (0, 512, 1536, 5 * 2**20)] == ["0 B", "512 B", "1.5 KiB", "5 MiB"]
    sizes = [999.4 * 2**10, 999.6 * 2**10, 1023.4 * 2**20, 1023.6 * 2**20]
    assert [format_bytes(n) for n in sizes] == ["999 KiB", "1000 KiB", "1023 MiB", "1 GiB"]
    assert [format_duration(n) for n in (0.42, 75, 720)] == ["0.4 s", "75 s", "12 min"]
    assert [
        pluralize(n, noun) for n, noun in ((1, "run"), (2000, "run"), (2, "API key"), (2, "entry"), (3, "index"))
    ] == [
        "1 run",
        "2,000 runs",
        "2 API keys",
        "2 entries",
        "3 indexes",
    ]


def test_jobs_compare_with_the_week_before_without_cancelled_or_refused_runs() -> None:
    now = [a_run(), a_run(outcome="failed"), a_run(outcome="cancelled"), a_run(outcome="refused")]
    section = runs.jobs(now, [a_run(ago=2 * DAY)])
    assert section.header == ("job", "runs", "success (before)", "median (before)", "longest")
    assert section.rows == [("cache-warm", "4", "50.00 % (100 %)", "2.0 s (2.0 s)", "2.0 s")]
    assert section.text.endswith("Refused: cache-warm 1.")
    assert not section.finding


def test_sections_without_a_week_before_compare_nothing() -> None:
    for section in (runs.jobs([a_run()], []), traffic.trends(TrafficTotals(100, 0, 10, 90), TrafficTotals())):
        assert "nothing to compare with" in section.text
        assert "more" not in section.text.lower()
    assert runs.jobs([a_run()], []).rows == [("cache-warm", "1", "100 %", "2.0 s", "2.0 s")]


def test_advice_on_quotas_needs_more_requests_and_fewer_hits() -> None:
    advice = "look at the quotas"
    assert advice in traffic.trends(TrafficTotals(200, 0, 70, 100), TrafficTotals(100, 0, 80, 100)).text
    assert advice not in traffic.trends(TrafficTotals(200, 0, 80, 100), TrafficTotals(100, 0, 80, 100)).text
    assert advice not in traffic.trends(TrafficTotals(100, 0, 70, 100), TrafficTotals(200, 0, 80, 100)).text


def test_errors_of_the_week_are_a_finding() -> None:
    assert traffic.trends(TrafficTotals(200, 3), TrafficTotals(100, 9)).finding == "3 errors"
    assert not traffic.trends(TrafficTotals(200), TrafficTotals(100, 9)).finding


def test_jobs_that_fail_come_first_then_those_that_take_longest() -> None:
    ended = [a_run(job="a"), a_run(job="b")._replace(seconds=9), *[a_run(job="z", outcome="failed")] * 2]
    section = runs.jobs([*ended, a_run(job="y", outcome="crashed")], [])
    assert [row[0] for row in section.rows] == ["z", "y", "b", "a"]


def test_daily_job_without_a_run_is_a_finding_and_one_on_request_is_none() -> None:
    before = [a_run("sync-inventory", ago=n * DAY) for n in range(1, 8)] + [a_run("weekly-report", ago=3 * DAY)]
    asked = [a_run("ask", ago=2 * DAY)._replace(is_scheduled=False)] * 9
    section = runs.jobs([a_run()], before + asked)
    assert section.finding == "1 job that did not run"
    assert "Did not run: sync-inventory." in section.text


def test_failed_run_has_a_link_and_its_reason_without_addresses() -> None:
    message = "3 shops: 5 due. Failed: a.example (MailRefused: 550 no such user jo@example.com).\nTraceback"
    section = runs.failures([a_run(outcome="failed", message=message), a_run()])
    assert section.finding == "1 failed run"
    page = render_sections([section])
    assert "| a.example (MailRefused: 550 no such user " in page
    assert "jo@" not in page
    assert "Traceback" not in page
    assert "| [cache-warm · calm-otter](http://prefect/runs/1) failed at 2026-03-14 11:00 UTC | a.example" in page


def test_quoted_text_is_cut_at_a_word() -> None:
    [row] = runs.failures([a_run(outcome="failed", message="a word " * 100)]).rows
    assert 190 < len(row[-1]) <= MAX_CHARACTERS
    assert row[-1].endswith((" a …", " word …"))


@pytest.mark.parametrize("text", ["受" * 300, "550 " + "受" * 300, "x" * 300])
def test_quoted_text_without_spaces_is_cut_within_a_word(text: str) -> None:
    assert redacted_line(text[:MAX_CHARACTERS]) == text[:MAX_CHARACTERS]
    assert redacted_line(text) == f"{text[: MAX_CHARACTERS - 2]} …"


def test_runs_are_grouped_by_days_of_24_hours() -> None:
    recent_runs = [a_run(ago=HOUR), a_run(ago=23 * HOUR, outcome="crashed"), a_run(ago=25 * HOUR)]
    days = runs.by_days_ago(recent_runs, NOW)
    assert {ago: len(of_day) for ago, of_day in days.items()} == {0: 2, 1: 1}
    assert (runs.success(days[0]), runs.success([])) == (50, None)


def test_errors_are_listed_by_minute_and_no_requests_are_not_a_success() -> None:
    assert "Check that the API is running" in traffic.errors(TrafficTotals(), []).text
    assert not traffic.errors(TrafficTotals(100), []).finding
    section = traffic.errors(TrafficTotals(200, 3), [BadMinute(NOW, 3, 20)])
    assert (section.rows, section.finding) == ([("2026-03-14 12:00 UTC", "3", "20")], "3 errors")


def test_failed_mails_are_listed_by_reason_without_addresses() -> None:
    section = traffic.mails([FailedMails("a.example", "550 <jo@example.com> is unknown", 2)])
    assert section.finding == "2 failed mails"
    assert "jo@" not in render_sections([section])


def test_shares_of_bounces_and_complaints_are_findings_from_what_providers_review() -> None:
    assert traffic.outcomes([]).text == "No mail was sent."
    fine = traffic.outcomes([ShopOutcomes("a.example", 10_000, 499, 3, 9)])
    assert (fine.rows, fine.finding) == ([("a.example", "10,000", "4.99 %", "0.03 %", "0.09 %")], "")
    bad = traffic.outcomes([ShopOutcomes("a.example", 5_000, 400, 0, 10), ShopOutcomes("b.example", 5_000, 100, 0, 0)])
    assert bad.finding == "5 % of mails bounced; 0.1 % of mails complained about"
    assert traffic.outcomes([ShopOutcomes("a.example", 10, 2, 0, 2)]).finding == ""  # too few to say


def test_few_mails_are_counted_but_not_judged() -> None:
    section = traffic.outcomes([ShopOutcomes("a.example", 30, 3, 0, 1)])
    assert section.text.startswith("Of 30 mails, 3 bounced, and recipients complained about 1: too few to judge.")
    assert (section.rows, section.finding) == ([("a.example", "30", "3", "0", "1")], "")


def test_paused_shops_and_dead_letters_are_findings() -> None:
    section = traffic.outcomes([], ["a.myshopify.com"])
    assert section.finding == "no mail of a, which complaints pause"
    assert "Complaints pause a: no mail is sent for it" in section.text
    assert not traffic.dead_letters([], 0).finding
    failures = [{"reason": "Most bounced <jo@example.com>"}]
    letter = DeadLetter(1, "a.myshopify.com", "mail-events", NOW, 10, failures, has_payload=True)
    section = traffic.dead_letters([letter], 3)
    assert (section.finding, section.rows[0][:2]) == ("3 dead letters", ("a", "mail-events"))
    assert "jo@" not in render_sections([section])


def test_cache_use_is_counted_since_the_previous_report() -> None:
    earlier = cache_usage.rows([use(reads=400, hits=400, evictions=1)])
    assert cache_usage.since([use(evictions=3)], earlier) == [use(reads=600, hits=500, evictions=2)]


def test_cache_size_is_shown_as_a_share_of_the_quota() -> None:
    [row] = cache_usage.rows([use(entries=90)])
    assert (row["entries (of quota)"], row["size (of quota)"]) == ("90 (90.00 %)", "1000 B (1.00 %)")
    section = cache_usage.section([use(entries=90)], ROOMY, None)
    assert section.rows == [("a.example", "90.00 % of 1,000 reads", "0", "90 (90.00 %), 4 variants", "1000 B (1.00 %)")]


def test_reset_counters_count_from_zero() -> None:
    earlier = cache_usage.rows([use(reads=5000, hits=400)])
    assert cache_usage.since([use()], earlier) == [use()]
    assert cache_usage.since([use(reads=5001, hits=300)], earlier) == [use(reads=5001, hits=300)]
    assert cache_usage.since([use()], []) == [use()]


def test_few_hits_lead_to_advice_on_the_quota_or_on_warming() -> None:
    full = cache_usage.section([use(hits=100, evictions=5, entries=95)], ROOMY, None)
    assert "Raise the quota" in full.text
    assert full.finding == "1 shop with few hits in the cache"
    assert "cache-warm" in cache_usage.section([use(hits=100)], ROOMY, None).text
    assert cache_usage.section([use()], ROOMY, None).text.endswith("Nothing to do.")
    assert not cache_usage.section([use(reads=20, hits=1)], ROOMY, None).finding  # too few reads


def test_redis_near_its_memory_limit_is_a_finding() -> None:
    assert cache_usage.section([use()], ServerMemory(91, 100, 7), NOW).finding == "Redis's memory"
    assert not cache_usage.section([use()], ServerMemory(91, 0, 7), NOW).finding  # it has no limit


def test_registry_that_is_not_public_is_shown_by_id() -> None:
    section = popularity.most_viewed([Viewed("a.example", 7, "smith", 9), Viewed("a.example", 8, None, 5)])
    assert [row[1:3] for row in section.rows] == [("7", "smith"), ("8", "not public")]


def test_shops_without_unviewed_registries_are_left_out() -> None:
    section = popularity.unviewed([Unviewed("a.example", 9, 0, []), Unviewed("b.example", 9, 2, ["smith"])])
    assert section.rows == [("b.example", "2", "9", "smith")]
    assert not popularity.unviewed([]).rows


def test_registries_of_many_shops_are_listed_by_their_views() -> None:
    viewed = [
        Viewed(f"{shop}.example", place, None, views)
        for place, (shop, views) in enumerate([("a", 5), ("b", 90), ("c", 7)])
    ]
    assert [row[0] for row in popularity.most_viewed(viewed).rows] == ["b.example", "c.example", "a.example"]
    without = [Unviewed("a.example", 9, 1, []), Unviewed("b.example", 9, 4, [])]
    assert [row[0] for row in popularity.unviewed(without).rows] == ["b.example", "a.example"]


def test_wasteful_warming_is_reported_from_20_sampled_entries_on() -> None:
    assert "a.example" in popularity.warming([Warmed("a.example", 100, 10)]).text
    assert "Nothing to do" in popularity.warming([Warmed("a.example", 100, 90), Warmed("b.example", 4, 0)]).text


def test_failed_audit_is_a_finding() -> None:
    section = security.dependencies(AuditResult(unreachable="no route to osv.dev"))
    assert section.text.startswith("**They could not be checked**: the vulnerability service (osv.dev) gave no usable")
    assert "(no route to osv.dev)." in section.text
    assert "No known" not in section.text
    assert verdict("May", [section]) == "May: look at the dependencies, which could not be checked."
    section = security.dependencies(AuditResult(9, (Vulnerability("left-pad", "1.0", "CVE-1", ("1.1", "2.0"), ""),)))
    assert (section.rows, section.finding) == ([("left-pad", "1.0", "CVE-1", "1.1 or 2.0")], "1 known vulnerability")


def test_keys_that_expire_before_the_next_report_or_were_never_used_are_listed() -> None:
    keys = [
        KeyAge("a.example", "ends", NOW - 90 * DAY, NOW + 29 * DAY, NOW),
        KeyAge("a.example", "ends on the 31st", NOW - 90 * DAY, NOW + 31 * DAY, NOW),
        KeyAge("a.example", "stays", NOW - 90 * DAY, NOW + 33 * DAY, NOW),
        KeyAge("a.example", "idle", NOW - 31 * DAY, None, None),
        KeyAge("a.example", "new", NOW - 29 * DAY, None, None),
    ]
    section = security.keys(keys, NOW)
    assert [(row[1], row[2]) for row in section.rows] == [
        ("ends", "expires at 2026-04-12 12:00 UTC"),
        ("ends on the 31st", "expires at 2026-04-14 12:00 UTC"),
        ("idle", "never used since 2026-02-11"),
    ]


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (token_age(None, has_token=False, can_renew=False), "has none"),
        (
            token_age(NOW + 29 * DAY, has_token=True, can_renew=False),
            "expires at 2026-04-12 12:00 UTC and cannot be renewed",
        ),
        (
            token_age(NOW - 2 * DAY, has_token=True, can_renew=True),
            "expired at 2026-03-12 12:00 UTC and was not renewed",
        ),
        (token_age(NOW + HOUR, has_token=True, can_renew=True), None),
        (token_age(None, has_token=True, can_renew=False), None),
    ],
)
def test_missing_expiring_and_lapsed_tokens_are_listed(token: TokenAge, why: str | None) -> None:
    assert [row[1] for row in security.tokens([token], NOW).rows] == ([why] if why else [])


def test_times_of_sections_are_in_the_time_zone_of_the_report() -> None:
    tokyo, moment = ZoneInfo("Asia/Tokyo"), datetime(2026, 3, 14, 20, 5, tzinfo=UTC)
    failed = runs.failures([a_run(outcome="failed")._replace(ended=moment)], tokyo)
    worst = traffic.errors(TrafficTotals(9, 1, 0, 0), [BadMinute(moment, 1, 9)], tokyo)
    assert failed.rows[0][0].endswith(worst.rows[0][0])
    assert worst.rows[0][0] == "2026-03-15 05:05 JST"
