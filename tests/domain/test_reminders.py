from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest

from wishcraft.domain.addresses import address_hash, mailbox_key, normalise
from wishcraft.domain.reminders import (
    DAYS_LEFT,
    ReminderKind,
    due_dates,
    due_kind,
    local_day,
    recipients,
    too_many_rejected,
)
from wishcraft.domain.unsubscribe import Subscription, derive_keys, make_token, read_token

EVENT = date(2026, 6, 20)
KEYS = derive_keys(["new", "old"])
SUBSCRIPTION = Subscription(7, address_hash(7, "emma@example.com"))


@pytest.mark.parametrize(
    ("days_left", "kind"),
    [
        (8, None),
        (7, ReminderKind.WEEK),
        (2, ReminderKind.WEEK),
        (1, ReminderKind.DAY),
        (0, ReminderKind.DAY),
        (-1, None),
    ],
)
def test_a_reminder_is_due_from_its_day_until_the_next_kind_takes_over(
    days_left: int, kind: ReminderKind | None
) -> None:
    assert due_kind(EVENT, EVENT - timedelta(days_left)) is kind


def test_due_dates_is_the_inverse_of_due_kind() -> None:
    today = date(2026, 2, 26)  # the days ahead cross the end of a month
    around = [today + timedelta(days) for days in range(-400, 400)]
    assert due_dates(today, today) == {day: kind for day in around if (kind := due_kind(day, today))}


def test_a_past_day_keeps_only_reminders_that_are_still_due() -> None:
    day = date(2026, 3, 10)
    for today in (day + timedelta(days=after) for after in range(-3, 10)):
        still = {event: kind for event, kind in due_dates(day, day).items() if due_kind(event, today) is kind}
        assert due_dates(day, today) == (still if today > day else due_dates(day, day))
    assert due_dates(day, day + timedelta(days=8)) == {}


def test_the_kinds_cover_each_day_exactly_once() -> None:
    days = sorted(day for due in DAYS_LEFT.values() for day in due)
    assert days == list(range(8))


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Pacific/Kiritimati", date(2026, 3, 15)),  # the date line's west: UTC+14
        ("Asia/Tokyo", date(2026, 3, 14)),
        ("America/New_York", date(2026, 3, 14)),
        ("Pacific/Pago_Pago", date(2026, 3, 13)),  # its east: UTC-11
    ],
)
def test_the_local_day_depends_on_the_time_zone(zone: str, day: date) -> None:
    assert local_day(datetime(2026, 3, 14, 10, 30, tzinfo=UTC), zone) == day


@pytest.mark.parametrize("moment", ["2026-03-08T06:59:59+00:00", "2026-03-08T07:00:00+00:00"])
def test_the_local_day_is_right_around_a_skipped_hour(moment: str) -> None:
    assert local_day(datetime.fromisoformat(moment), "America/New_York") == date(2026, 3, 8)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_an_invalid_time_zone_is_rejected(zone: str) -> None:
    with pytest.raises((ValueError, ZoneInfoNotFoundError)):
        local_day(datetime(2026, 3, 14, tzinfo=UTC), zone)


def ten_o_clock(year: int) -> list[datetime]:
    """When the job runs: at ten in New York, every day of the year and ten more."""
    first = datetime(year, 1, 1, 10, tzinfo=ZoneInfo("America/New_York"))
    return [(first + timedelta(days)).astimezone(UTC) for days in range(-10, 376)]


@pytest.mark.parametrize("zone", sorted(zone for zone in available_timezones() if "/" in zone and "Etc" not in zone))
def test_every_event_of_a_year_with_clock_changes_gets_both_reminders(zone: str) -> None:
    days = [local_day(run, zone) for run in ten_o_clock(2026)]
    assert all(earlier <= later for earlier, later in pairwise(days))
    due = Counter((event, kind) for event, kind in {pair for day in days for pair in due_dates(day, day).items()})
    events = [date(2026, 1, 1) + timedelta(day) for day in range(365)]
    assert all(due[event, kind] == 1 for event in events for kind in ReminderKind)


def test_recipients_are_valid_and_unique() -> None:
    found = recipients([" Emma@Example.com", "emma@example.com", "hugo@example.com", "nobody", "", "a b@example.com"])
    assert found == ["emma@example.com", "hugo@example.com"]


@pytest.mark.parametrize(
    "address",
    [
        "em\u202ema@b.example", "em\u200bma@b.example", "em\u200dma@b.example",
        "a@b.example\r\nBcc: x@y.example", "<a@b.example>", "a@b@c.example", "@b.example", "a@",
        "a" * 65 + "@b.example", "ä" * 33 + "@b.example", "a@b", "a@localhost", "a@-x.example", "a@x-.example",
        "a@x..example", "a@.example", "a@x.example.", "a@127.0.0.1", "a@x.1", "a@[127.0.0.1]", "a@x_y.example",
        "a@" + "x" * 64 + ".example", "a..b@x.example", ".a@x.example", "a.@x.example", "a b@x.example",
        "=?utf-8?q?a?=@x.example", "a@xn--\u00fc.example", "a@" + "x." * 130 + "example",
        "a@\uff47mail.com", "a@gm\u00adail.com", "a@gmail。com", "a@gmail\uff0ecom", "a@gmail\u200b.com", "a@①.example",
        "a@xn--zz.example", "a@❤.example",
    ],
)  # fmt: skip
def test_an_invalid_address_normalises_to_none(address: str) -> None:
    assert normalise(address) is None


@pytest.mark.parametrize(
    ("address", "normalised"),
    [
        ("a@b.example", "a@b.example"),
        ("A.B+c@B.Example", "a.b+c@b.example"),
        ("o'neil@x.example", "o'neil@x.example"),
        ("Jörg@Bücher.example", "jörg@xn--bcher-kva.example"),
        ("jo\u0308rg@bu\u0308cher.example", "jörg@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("a@日本.example", "a@xn--wgv71a.example"),
    ],
)
def test_all_spellings_of_a_valid_address_normalise_to_one(address: str, normalised: str) -> None:
    assert normalise(f" {address} ") == normalised
    assert normalise(normalised) == normalised


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("jo+a@x.example", "jo@x.example"),
        ("j.o.e+1@gmail.com", "joe@gmail.com"),
        ("j.oe@googlemail.com", "joe@gmail.com"),
    ],
)
def test_addresses_of_one_mailbox_have_one_key(address: str, same: str) -> None:
    assert mailbox_key(address) == mailbox_key(same)
    assert mailbox_key("j.oe@x.example") != mailbox_key("joe@x.example")


def test_two_shops_store_different_hashes_of_an_address() -> None:
    assert address_hash(1, "a@b.example") != address_hash(2, "a@b.example")


def test_a_link_is_verified_with_the_key_that_signed_it_after_a_rotation() -> None:
    for key in KEYS:
        assert read_token(make_token(SUBSCRIPTION, key), KEYS) == SUBSCRIPTION
    assert read_token(make_token(SUBSCRIPTION, KEYS[1]), KEYS[:1]) is None


def test_a_link_does_not_contain_the_address() -> None:
    assert "emma" not in make_token(SUBSCRIPTION, KEYS[0]).lower()


@pytest.mark.parametrize("at", range(0, 96, 5))
def test_a_modified_link_is_rejected(at: int) -> None:
    token = make_token(SUBSCRIPTION, KEYS[0])
    other = "B" if token[at] == "A" else "A"
    assert read_token(token[:at] + other + token[at + 1 :], KEYS) is None


@pytest.mark.parametrize("token", ["", "x", "=" * 96, "é" * 96, "A" * 97, "A" * 96])
def test_a_malformed_link_is_rejected(token: str) -> None:
    assert read_token(token, KEYS) is None


@pytest.mark.parametrize(("rejected", "sent", "too_many"), [(4, 0, False), (5, 0, True), (5, 5, False), (60, 59, True)])
def test_many_rejections_that_are_the_majority_are_too_many(rejected: int, sent: int, *, too_many: bool) -> None:
    assert too_many_rejected(rejected, sent) is too_many
