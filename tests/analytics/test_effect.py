from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from statistics import NormalDist, mean, variance
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.support.frame_chunks import FEW_EXAMPLES, SHOPS, START, Chunk, Purchase, Registry, rows
from wishcraft.analytics import add, count_after_reminder, reminder_effect

EVENT = datetime(2026, 3, 20)  # noqa: DTZ001  a day
UNTIL = EVENT.date()
GROUPS = ("reminded", "not_reminded")
MEASURES = ("registries", "gifted", "units", "units_squared")


class Reminder(NamedTuple):
    registry_id: int
    kind: str = "7_days"
    event_date: datetime = EVENT
    state: str = "sent"


def wedding(registry_id: int, **facts: Any) -> Registry:
    return Registry(registry_id, **{"event_date": EVENT, **facts})


def gift(moment: str, registry_id: int = 1, quantity: int = 1) -> Purchase:
    return Purchase(registry_id, 1, quantity, datetime.fromisoformat(moment).astimezone(UTC))


def count(
    registries: Sequence[Registry],
    reminders: Sequence[Reminder] = (),
    purchases: Sequence[Purchase] = (),
    until: datetime = EVENT,
    days: int = 3,
) -> pd.DataFrame:
    chunk = Chunk(registries, (), purchases)
    types = {"registry_id": "int64", "kind": "category", "event_date": "datetime64[s]", "state": "category"}
    mails = pd.DataFrame(reminders, columns=list(Reminder._fields)).astype(types)
    return count_after_reminder(chunk.registries, mails, chunk.purchases, until=until.date(), days=days)


def figures(counts: pd.DataFrame, group: str = "reminded") -> list[int]:
    return [int(counts[f"{group}_{name}"].sum()) for name in MEASURES]


def tally(reminded: Sequence[int], others: Sequence[int]) -> pd.DataFrame:
    """The counts of registries with these numbers of units."""
    sums = [
        sum(figure)
        for group in (reminded, others)
        for figure in ([1 for _ in group], [each > 0 for each in group], group, [each**2 for each in group])
    ]
    index = pd.MultiIndex.from_tuples([("maple", "wedding")], names=["shop", "event_type"])
    return pd.DataFrame([sums], index, [f"{group}_{name}" for group in GROUPS for name in MEASURES])


def test_units_and_their_squares_are_counted_by_reminded_and_not_reminded() -> None:
    sales = [gift("2026-03-13T12:00-04:00"), gift("2026-03-14T12:00-04:00", 1, 2), gift("2026-03-15T12:00-04:00", 3)]
    counts = count([wedding(1), wedding(2), wedding(3)], [Reminder(1), Reminder(2)], sales)
    assert figures(counts) == [2, 1, 3, 9]
    assert figures(counts, "not_reminded") == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("moment", "units"),
    [
        ("2026-03-12T23:59:59-04:00", 0),
        ("2026-03-13T00:00:00-04:00", 1),
        ("2026-03-15T23:59:59-04:00", 1),
        ("2026-03-16T00:00:00-04:00", 0),
    ],
)
def test_window_has_the_days_of_the_shops_time_zone(moment: str, units: int) -> None:
    assert figures(count([wedding(1)], [Reminder(1)], [gift(moment)]))[2] == units


@pytest.mark.parametrize(
    "left_out",
    [
        {"event_date": None},
        {"status": "archived"},
        {"created_at": datetime(2026, 3, 13, 4, tzinfo=UTC)},
        {"event_date": EVENT + timedelta(days=5)},
    ],
    ids=["without a date", "archived", "created on the reminder's day", "with a window that is not over"],
)
def test_registries_without_a_complete_window_are_left_out(left_out: dict[str, Any]) -> None:
    assert figures(count([wedding(1), wedding(2, **left_out)]), "not_reminded")[0] == 1


def test_creation_and_window_count_up_to_the_day_before_their_limits() -> None:
    late = wedding(1, created_at=datetime(2026, 3, 13, 3, 59, tzinfo=UTC))
    for until, there in ((datetime(2026, 3, 16, tzinfo=UTC), 1), (datetime(2026, 3, 15, tzinfo=UTC), 0)):
        assert figures(count([late], until=until), "not_reminded")[0] == there


@pytest.mark.parametrize(
    "mail",
    [
        Reminder(1, kind="1_day"),
        Reminder(1, state="suppressed"),
        Reminder(1, event_date=EVENT + timedelta(days=1)),
        Reminder(2),
    ],
)
def test_other_mails_do_not_count_as_the_reminder(mail: Reminder) -> None:
    assert figures(count([wedding(1)], [mail]), "not_reminded")[0] == 1


def test_registry_with_one_failed_recipient_is_reminded_once() -> None:
    assert figures(count([wedding(1)], [Reminder(1), Reminder(1), Reminder(1, state="failed")]))[0] == 1


def test_effect_has_the_figures_of_both_groups_and_their_differences() -> None:
    reminded, others = [0, 1, 1, 2] * 10, [0, 0, 0, 1, 3] * 7
    (result,) = rows(reminder_effect(tally(reminded, others), ("event_type",)))
    value = mean(reminded) - mean(others)
    margin = NormalDist().inv_cdf(0.975) * (variance(reminded) / 40 + variance(others) / 35) ** 0.5
    assert result == {
        "event_type": "wedding", "reminded": 40, "not_reminded": 35,
        "units_reminded": 1.0, "units_not_reminded": 0.8, "units_difference": pytest.approx(value),
        "units_low": pytest.approx(value - margin), "units_high": pytest.approx(value + margin),
        "share_reminded": 0.75, "share_not_reminded": 0.4, "share_difference": pytest.approx(0.35),
        "share_low": pytest.approx(0.1262, abs=5e-5), "share_high": pytest.approx(0.5305, abs=5e-5),
        "finding": "no difference to be seen",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reminded", "others", "finding"),
    [
        ([1, 2] * 15, [0, 1] * 15, "more"),
        ([0, 1] * 15, [1, 2] * 15, "less"),
        ([0, 1] * 15, [1, 0] * 15, "no difference to be seen"),
        ([1, 2] * 14, [0, 0] * 15, "too few to tell"),
    ],
)
def test_finding_follows_from_the_interval_of_units(reminded: list[int], others: list[int], finding: str) -> None:
    assert reminder_effect(tally(reminded, others))["finding"].tolist() == [finding]


def test_higher_confidence_level_widens_the_interval() -> None:
    counts = tally([0, 2] * 15, [0, 1] * 15)
    findings = [reminder_effect(counts, confidence=confidence)["finding"].item() for confidence in (0.95, 0.99)]
    assert findings == ["more", "no difference to be seen"]


def test_no_registries_are_too_few_to_tell() -> None:
    for counts in (count([]), add([])):
        (result,) = rows(reminder_effect(counts))
        assert (result["reminded"], result["units_reminded"], result["finding"]) == (0, None, "too few to tell")
        assert rows(reminder_effect(counts, ("shop",))) == []


Case = tuple[list[Registry], list[Reminder], list[Purchase]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Registries around one date, on the hour, with reminders right and wrong."""
    moments = st.integers(0, 24 * 30).map(lambda hours: START + timedelta(hours=hours))
    dates = st.none() | st.integers(-3, 5).map(lambda days: EVENT + timedelta(days=days))
    facts = st.tuples(
        st.sampled_from(SHOPS), st.sampled_from(["baby", "wedding"]), moments,
        st.sampled_from(["active", "archived", "completed"]), dates,
    )  # fmt: skip
    registries = [
        Registry(number, *shop, event_type, created_at, status, event_date=event_date)
        for number, (shop, event_type, created_at, status, event_date) in enumerate(
            draw(st.lists(facts, min_size=1, max_size=6)), start=1
        )
    ]
    ids = st.sampled_from([each.registry_id for each in registries])
    kinds, states = st.sampled_from(["7_days", "1_day"]), st.sampled_from(["sent", "failed"])
    own = st.sampled_from([each for each in registries if each.event_date] or [wedding(9)])
    mails = own.flatmap(
        lambda each: st.builds(Reminder, st.just(each.registry_id), kinds, st.just(each.event_date or EVENT), states)
    )
    sales = st.tuples(ids, st.just(1), st.integers(1, 3), moments).map(lambda each: Purchase(*each))
    wrong = st.builds(Reminder, ids, kinds, st.just(EVENT), states)
    return registries, draw(st.lists(mails | wrong, max_size=8)), draw(st.lists(sales, max_size=12))


def units_by_registry(case: Case, days: int) -> Iterator[tuple[tuple[str, str], str, int]]:
    """Shop, event type, group and units of each registry that counts."""
    registries, reminders, purchases = case
    for each in registries:
        if each.event_date is None or each.status == "archived":
            continue
        first = each.event_date.date() - timedelta(days=7)
        begin, end = (
            datetime.combine(day, time(), ZoneInfo(each.timezone)) for day in (first, first + timedelta(days=days))
        )
        if each.created_at >= begin or first + timedelta(days=days) > UNTIL - timedelta(days=4):
            continue
        is_reminded = Reminder(each.registry_id, event_date=each.event_date) in reminders
        units = sum(
            sale.quantity
            for sale in purchases
            if sale.registry_id == each.registry_id and begin <= sale.created_at < end
        )
        yield (each.shop, each.event_type), GROUPS[not is_reminded], units


@FEW_EXAMPLES
@given(cases(), st.integers(1, 9))
def test_reminder_counts_match_a_plain_loop_for_any_chunking(case: Case, days: int) -> None:
    expected: dict[tuple[str, str], dict[str, int]] = {}
    for key, group, units in units_by_registry(case, days):
        sums = expected.setdefault(key, {f"{side}_{name}": 0 for side in GROUPS for name in MEASURES})
        for name, figure in zip(MEASURES, (1, units > 0, units, units**2), strict=True):
            sums[f"{group}_{name}"] += figure
    until = EVENT - timedelta(days=4)
    counts = count(*case, until, days)
    assert counts.to_dict("index") == expected
    parts: list[Any] = [[[row for row in table if row.registry_id % 2 == odd] for table in case] for odd in (0, 1)]
    assert_frame_equal(add(count(part[0], part[1], part[2], until, days) for part in parts), counts)
