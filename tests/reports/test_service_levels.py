"""Service levels, compared with an independent count of single rows in plain Python."""

import base64
import io
import random
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

import pytest
from PIL import Image

from tests.support.aliases import Demo
from wishcraft.domain.service_levels import LENGTHS, Assessment, Count, Period, ServiceLevel, assess
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.service_levels import draw_days, format_trend, overview, tally_days, verdict
from wishcraft.resources import Resources
from wishcraft.store import mail_statistics

END = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def empty(demo: Demo) -> None:
    demo.execute("TRUNCATE service_minutes, reminders, webhook_events")


def random_minutes(seed: int, days: float) -> Rows:
    """Some of the minutes of the last so many days, the first among them, with the latency of each request."""
    rng = random.Random(seed)  # noqa: S311  any rows will do
    rows = []
    for ago in range(-5, int(days * 1440)):  # some are after the end
        if ago != int(days * 1440) - 1 and rng.random() < 0.8:
            continue
        seconds = [rng.lognormvariate(-4.5, 1.2) for _ in range(rng.randrange(3))]
        errors = sum(rng.random() < 0.01 for _ in seconds)
        reads = [rng.randrange(6), rng.randrange(3), rng.randrange(3), rng.randrange(2)]
        rows.append(
            {"minute": END - (ago + 1) * MINUTE, "served": rng.random() > 0.005, "seconds": seconds, "errors": errors,
             "reads": reads}
        )  # fmt: skip
    return rows


def write(demo: Demo, rows: Rows) -> None:
    with demo.cursor().copy("COPY service_minutes FROM STDIN") as copy:
        for row in rows:
            counts = [0] * (len(LATENCY_BOUNDS) + 1)
            for each in row["seconds"]:
                counts[bisect_left(LATENCY_BOUNDS, each)] += 1
            copy.write_row((row["minute"], row["served"], len(row["seconds"]), row["errors"], counts, *row["reads"]))


def between(rows: Rows, begin: datetime, end: datetime) -> Rows:
    return [row for row in rows if begin <= row["minute"] < end]


def assessment_of(assessments: list[Assessment], level: ServiceLevel, period: Period) -> Assessment:
    [one] = [each for each in assessments if (each.level, each.period) == (level, period)]
    return one


async def assessed(resources: Resources, runs: dict[int, Count] | None = None) -> list[Assessment]:
    return assess(await tally_days(resources, END, runs or {}), LATENCY_BOUNDS)


@pytest.mark.parametrize("days", [65.0, 40.3])
async def test_service_levels_match_a_count_of_single_rows(resources: Resources, demo: Demo, days: float) -> None:
    rows = random_minutes(int(days), days)
    write(demo, rows)
    first = min(row["minute"] for row in rows)
    report = await assessed(resources)
    for period, length in LENGTHS.items():
        for shift in (0, length):
            end = END - shift * DAY
            begin = max(end - length * DAY, first)
            chosen = between(rows, begin, end)
            seconds = sorted(each for row in chosen for each in row["seconds"])
            reads = [sum(column) for column in zip(*(row["reads"] for row in chosen), strict=True)]
            expected = {
                ServiceLevel.UPTIME: sum(row["served"] for row in chosen) / ((end - begin) / MINUTE),
                ServiceLevel.ERRORS: sum(row["errors"] for row in chosen) / len(seconds),
                ServiceLevel.CACHE: (reads[0] + reads[1]) / sum(reads),
            }
            for level, value in expected.items():
                shown = assessment_of(report, level, period)
                assert (shown.before if shift else shown.value) == pytest.approx(value, abs=1e-12)
            latency = assessment_of(report, ServiceLevel.LATENCY, period)
            shown_seconds = latency.before if shift else latency.value
            assert shown_seconds
            exact = quantiles(seconds, n=20)[-1]
            assert bisect_left(LATENCY_BOUNDS, shown_seconds) == bisect_left(LATENCY_BOUNDS, exact)
            if not shift:
                assert latency.count == Count(len(seconds), sum(each > 0.1 for each in seconds))


async def test_time_before_the_first_minute_is_not_an_outage(resources: Resources, demo: Demo) -> None:
    for ago in (90, 10, 1):
        demo.execute("INSERT INTO service_minutes VALUES (%s, true, 0, 0, '{0}', 0, 0, 0, 0)", [END - ago * MINUTE])
    report = await assessed(resources)
    assert {assessment_of(report, ServiceLevel.UPTIME, period).count for period in Period} == {Count(90, 87)}


async def test_no_counts_are_no_data(resources: Resources) -> None:
    report = await assessed(resources)
    assert {(each.value, each.met, each.budget_left, each.gain) for each in report} == {(None, None, None, None)}


async def test_complaints_count_among_the_mails_with_an_outcome_in_the_period(resources: Resources, demo: Demo) -> None:
    outcomes = [("delivered", 0.5)] * 5 + [("complained", 0.5), ("bounced", 3), ("complained", 6.9), ("delivered", 40)]
    demo.execute("UPDATE invitations SET outcome = NULL")
    demo.cursor().executemany(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, outcome, outcome_at)
           SELECT shop_id, id, '1_day', current_date, %s, 'sent', %s, %s FROM registries ORDER BY id LIMIT 1""",
        [(f"{number}@example.com", outcome, END - days * DAY) for number, (outcome, days) in enumerate(outcomes)],
    )
    report = await assessed(resources)
    counts = [assessment_of(report, ServiceLevel.COMPLAINTS, period).count for period in Period]
    assert counts == [Count(6, 1), Count(8, 2), Count(8, 2)]


async def test_mails_by_smtp_are_the_base_of_complaints_and_few_are_not_judged(
    resources: Resources, demo: Demo
) -> None:
    """A mail server reports bounces and complaints alone."""
    demo.execute("UPDATE invitations SET outcome = NULL, state = 'failed'")
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at,
               outcome, outcome_at)
           SELECT shop_id, id, '1_day', current_date, n || '@example.com', 'sent', %(at)s,
               CASE n WHEN 1 THEN 'complained' END, CASE n WHEN 1 THEN %(at)s END
           FROM (SELECT * FROM registries ORDER BY id LIMIT 1) r, generate_series(1, 30) n""",
        {"at": END - DAY / 2},
    )
    report = await assessed(resources)
    found = assessment_of(report, ServiceLevel.COMPLAINTS, Period.MONTH)
    assert (found.count, found.met) == (Count(30, 1), None)
    assert "Too few to judge: mail complaints (1 of 30)." in verdict(report)
    assert "1 of 30: too few to judge" in overview(report)


async def test_mails_count_when_sent_or_given_up_in_the_period(resources: Resources, demo: Demo) -> None:
    rng = random.Random(7)  # noqa: S311  any mails will do
    states = ["pending", "sending", "sent", "sent", "sent", "failed", "suppressed"]
    mails = [(rng.choice(states), END - rng.uniform(-1, 70) * DAY) for _ in range(400)]
    mails += [("failed", END), ("failed", END - DAY), ("sent", END - DAY - timedelta(microseconds=1))]
    demo.cursor().executemany(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, updated_at)
           SELECT shop_id, id, '1_day', current_date, %s, %s, %s FROM registries ORDER BY id LIMIT 1""",
        [(f"{number}@example.com", state, moment) for number, (state, moment) in enumerate(mails)],
    )
    refused = demo.execute(
        """UPDATE reminders SET last_error = 'refused: 550' WHERE state = 'suppressed' AND id % 2 = 0
           RETURNING updated_at"""
    ).fetchall()
    mails += [("refused", moment) for (moment,) in refused]
    report = await assessed(resources)
    for period, length in LENGTHS.items():
        ended = [state for state, moment in mails if END - length * DAY <= moment < END]
        bad = ended.count("failed") + ended.count("refused")
        expected = Count(ended.count("sent") + bad, bad)
        assert assessment_of(report, ServiceLevel.MAILS, period).count == expected


REMINDER = """
    INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at, updated_at)
    SELECT shop_id, id, '1_day', current_date, 'a@example.com', 'failed', %s, %s FROM registries ORDER BY id LIMIT 1
"""
INVITATION = """
    INSERT INTO invitations (shop_id, registry_id, recipient, state, claimed_at, updated_at)
    SELECT shop_id, id, 'a@example.com', 'failed', %s, %s FROM registries ORDER BY id LIMIT 1
"""


@pytest.mark.parametrize("mail", [REMINDER, INVITATION], ids=["reminder", "invitation"])
async def test_mail_fails_on_the_day_on_which_it_is_given_up(resources: Resources, demo: Demo, mail: str) -> None:
    demo.execute("DELETE FROM invitations")
    demo.execute(mail.encode(), [END - 2 * DAY, END - DAY / 2])
    async with resources.db.autocommit() as session:
        [failed] = await mail_statistics.find_failures(session, END - DAY, END)
    assert failed.mails == 1
    counts = assessment_of(await assessed(resources), ServiceLevel.MAILS, Period.DAY).count
    assert counts == Count(1, 1)


async def test_webhooks_that_are_late_or_dead_letters_or_wait_are_bad(resources: Resources, demo: Demo) -> None:
    """Each with its topic, its outcome, the days before the end at which it was received, and the seconds it took."""
    webhooks: list[tuple[str, str | None, float, float | None]] = [
        ("orders/create", "applied", 0.5, 60),
        ("orders/create", "applied", 0.5, 61),  # late
        ("products/update", "ignored", 0.5, 1),
        ("products/update", "dead", 0.5, 1),
        ("shop/redact", "applied", 0.5, 600),  # about privacy
        ("orders/create", None, 0.5, None),  # waits too long
        ("orders/create", None, 10 / 86_400, None),  # has just come
        ("orders/create", "applied", 1 + 30 / 86_400, 45),  # handled on the last day
        ("orders/create", "discarded", 3, 1),
        ("customers/redact", None, 3, None),
        ("orders/create", "applied", 20, 2),
        ("orders/create", "applied", -1, 2),  # after the end
        ("orders/create", "applied", 70, 2),
    ]
    demo.cursor().executemany(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, outcome, received_at, handled_at)
           SELECT 'a.myshopify.com', gen_random_uuid()::text, topic, outcome, at, at + took * interval '1 s'
           FROM (SELECT %s::text AS topic, %s::text AS outcome, %s::timestamptz AS at, %s::float AS took) w""",
        [(topic, outcome, END - ago * DAY, seconds) for topic, outcome, ago, seconds in webhooks],
    )
    report = await assessed(resources)
    counts = [assessment_of(report, ServiceLevel.WEBHOOKS, period).count for period in Period]
    assert counts == [Count(6, 3), Count(7, 4), Count(8, 4)]


async def test_runs_are_counted_by_days_before_the_end(resources: Resources) -> None:
    runs = {0: Count(100, 0), 6: Count(50, 1), 29: Count(50, 4), 30: Count(7, 7)}
    report = await assessed(resources, runs | {59: Count(1, 0)})
    counts = [assessment_of(report, ServiceLevel.JOBS, period).count for period in Period]
    assert counts == [Count(100, 0), Count(150, 1), Count(200, 5)]
    assert assessment_of(report, ServiceLevel.JOBS, Period.MONTH).before == 1 / 8
    of_the_rest = assessment_of(await assessed(resources, runs), ServiceLevel.JOBS, Period.MONTH)
    assert (of_the_rest.before, format_trend(of_the_rest)) == (None, "nothing to compare")


async def test_plot_is_embedded_in_the_page(resources: Resources, demo: Demo) -> None:
    write(demo, random_minutes(1, 3))
    alt, _, data = draw_days(await tally_days(resources, END, {}), END).partition("](data:image/png;base64,")
    levels = "uptime, p95 latency, error rate, cache hit ratio, job success, mail success, mail complaints, webhooks"
    assert alt == f"![Day by day: {levels}"
    png = base64.b64decode(data.removesuffix(")"))
    assert Image.open(io.BytesIO(png)).size[0] >= 720
    assert len(png) < 100_000


async def test_periods_of_which_no_more_is_known_than_of_shorter_ones_are_one_column(
    resources: Resources, demo: Demo
) -> None:
    write(demo, [{"minute": END - MINUTE, "served": True, "seconds": [0.01], "errors": 0, "reads": [9, 0, 1, 0]}])
    young = overview(await assessed(resources)).splitlines()[0]
    assert young == "| objective | budget left | 1 minute of 30 days | trend |"
    demo.execute("UPDATE invitations SET state = 'sent', outcome = NULL, claimed_at = %s", [END - 3 * DAY])
    assert overview(await assessed(resources)).splitlines()[0] == young  # though some mails are older
    write(demo, random_minutes(1, 3.0)[6:])
    grown = overview(await assessed(resources)).splitlines()[0]
    assert grown == "| objective | budget left | 1 day | 3 days of 30 days | trend |"
