"""The days on which reminders are sent, in the time zones of shops."""

from datetime import UTC, date, datetime, timedelta

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.reminders import DAY, NOW, TODAY, WEEK, change, rows
from wishcraft.errors import ConfigurationError
from wishcraft.resources import Resources
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef


async def test_a_day_that_ends_during_a_run_is_not_counted_any_more(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [DAY, shop.id])

    async def end_the_day(done: int, _total: int) -> None:
        if done:  # 15:00 UTC is the next day there
            demo.execute("UPDATE shops SET timezone = 'Pacific/Auckland'")

    await remind_shop(resources, settings, shop, now=NOW, checkpoint=end_the_day)
    words = [each.parsed["Subject"].split(":")[0] for each in mailbox.messages]
    assert words == ["Tomorrow"] * 4 + ["Today"] * (len(words) - 4)
    assert len(words) > 4


async def test_a_reminder_is_sent_a_week_and_a_day_before_the_event(
    resources: Resources, settings: Settings, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    for days in range(12):
        await remind_shop(resources, settings, shop, now=NOW + timedelta(days))
    subjects = [str(received.parsed["Subject"]) for received in mailbox.messages]
    assert [subject.partition(": ")[0] for subject in subjects] == ["In 7 days", "Tomorrow"]


async def test_a_late_reminder_is_sent_with_the_days_that_are_really_left(
    resources: Resources, settings: Settings, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    for days in (2, 3, 7):  # no run for five days, nor on the day before
        await remind_shop(resources, settings, shop, now=NOW + timedelta(days))
    subjects = [str(received.parsed["Subject"]) for received in mailbox.messages]
    assert [subject.partition(": ")[0] for subject in subjects] == ["In 5 days", "Today"]


async def test_a_moved_event_is_reminded_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    await remind_shop(resources, settings, shop, now=NOW)
    change(demo, registry, event_date=WEEK + timedelta(30))
    assert (await remind_shop(resources, settings, shop, now=NOW))["due"] == 0
    await remind_shop(resources, settings, shop, now=NOW + timedelta(30))
    assert [row[:2] for row in rows(demo)] == [("7_days", WEEK), ("7_days", WEEK + timedelta(30))]
    assert len(mailbox.messages) == 2


async def test_an_event_moved_before_its_reminder_gets_none_for_the_old_date(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.DEFER))
    await remind_shop(resources, settings, shop, now=NOW)
    mailbox.faults.clear()
    change(demo, registry, event_date=WEEK + timedelta(1))
    await remind_shop(resources, settings, shop, now=NOW + timedelta(1))
    assert [str(received.parsed["Subject"]).partition(": ")[0] for received in mailbox.messages] == ["In 7 days"]
    await remind_shop(resources, settings, shop, now=NOW + timedelta(9))
    assert [row[3] for row in rows(demo)] == ["failed", "sent"]


@pytest.mark.parametrize(("zone", "days"), [("Asia/Tokyo", 8), ("America/New_York", 7), ("Pacific/Kiritimati", 8)])
async def test_the_day_is_that_of_the_shops_time_zone(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    registry: int,
    mailbox: Mailbox,
    zone: str,
    days: int,
) -> None:
    # At 15:00 UTC it is already tomorrow in Tokyo.
    demo.execute("UPDATE shops SET timezone = %s WHERE id = %s", [zone, shop.id])
    change(demo, registry, event_date=TODAY + timedelta(8))
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert counts["sent"] == len(mailbox.messages) == (1 if days == 8 else 0)


async def test_an_unknown_time_zone_is_named_in_the_error(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    demo.execute("UPDATE shops SET timezone = 'Mars/Olympus' WHERE id = %s", [shop.id])
    with pytest.raises(ConfigurationError, match="Mars/Olympus"):
        await remind_shop(resources, settings, shop, now=NOW)


async def test_today_can_be_given_as_a_parameter(
    resources: Resources, settings: Settings, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    counts = await remind_shop(resources, settings, shop, now=NOW - timedelta(100), today=TODAY)
    assert counts["sent"] == len(mailbox.messages) == 1


async def test_a_run_for_a_day_to_come_states_the_days_left_and_gives_nothing_up(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    mailbox.faults.set(Fault(FaultKind.DEFER))
    await remind_shop(resources, settings, shop, now=NOW)
    mailbox.faults.clear()
    await remind_shop(resources, settings, shop, now=NOW, today=WEEK + timedelta(1))
    assert [row[3] for row in rows(demo)] == ["pending"]
    await remind_shop(resources, settings, shop, now=NOW, today=TODAY + timedelta(1))
    assert [str(received.parsed["Subject"]).partition(": ")[0] for received in mailbox.messages] == ["In 7 days"]


async def test_a_run_for_a_past_day_sends_only_what_is_still_due(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    for days_left, sent in ((-1, 0), (1, 0), (3, 1)):
        change(demo, registry, event_date=TODAY + timedelta(days_left))
        past = TODAY + timedelta(days_left - 7)
        assert (await remind_shop(resources, settings, shop, now=NOW, today=past))["sent"] == sent
    assert str(mailbox.messages[0].parsed["Subject"]).startswith("In 3 days")


async def test_an_event_without_a_run_the_day_before_is_reminded_on_its_day(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, registry: int, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE shops SET timezone = 'Asia/Tokyo' WHERE id = %s", [shop.id])
    # A day without a run in Tokyo: New York's clocks go back, and 10:00 there is past midnight here.
    change(demo, registry, event_date=date(2026, 11, 2))
    runs = [datetime(2026, 10, day, 14, tzinfo=UTC) for day in range(24, 32)]
    runs += [datetime(2026, 11, day, 15, tzinfo=UTC) for day in range(1, 5)]
    for now in runs:
        await remind_shop(resources, settings, shop, now=now)
    subjects = [str(received.parsed["Subject"]).partition(": ")[0] for received in mailbox.messages]
    assert subjects == ["In 7 days", "Today"]
