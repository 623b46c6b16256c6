from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.frame_chunks import FEW, SHOPS, START, Chunk, Purchase, Registry, rows
from tests.support.hypothesis_profiles import examples
from wishcraft.analytics import LEAD_WEEKS, add, count_lead, count_open, demand_forecast, variant_stock

EVENT = datetime(2026, 3, 20)  # noqa: DTZ001  a day
TODAY = datetime(2026, 3, 27)  # noqa: DTZ001  a day
LONG_AGO, FOREVER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
MISSING = float("nan")
VARIANT = ("maple", 1, 1, "Vase", "Sage")
KEY = ["shop", "product_id", "variant_id", "product_title", "variant_title", "event_type", "lead_week"]


class Wish(NamedTuple):
    registry_id: int
    item_id: int
    wanted: int = 1
    variant_id: int = 1
    status: str = "active"
    created_at: datetime = LONG_AGO
    stock: int = 5
    tracked: bool = True
    policy: str = "deny"
    product_title: str = "Vase"
    variant_title: str = "Sage"
    product_id: int = 1


Case = tuple[Sequence[Registry], Sequence[Wish], Sequence[Purchase]]


def wedding(registry_id: int, days: int = 0, **facts: Any) -> Registry:
    """Its event is so many days after `EVENT`."""
    return Registry(registry_id, **{"event_date": EVENT + timedelta(days=days), **facts})


def gift(moment: str, quantity: int = 1) -> Purchase:
    return Purchase(1, 1, quantity, datetime.fromisoformat(moment).astimezone(UTC))


def frames(case: Case) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    registries, wishes, purchases = case
    chunk = Chunk(registries, (), purchases)
    numbers = ["registry_id", "item_id", "wanted", "variant_id", "stock", "product_id"]
    types = (
        dict.fromkeys(numbers, "int64")
        | dict.fromkeys(["status", "policy", "product_title", "variant_title"], "category")
        | {"created_at": "datetime64[us, UTC]", "tracked": "bool"}
    )
    items = pd.DataFrame(wishes, columns=list(Wish._fields)).astype(types)
    return chunk.registries, items, chunk.purchases


def lead(*case: Any, today: datetime = TODAY) -> pd.DataFrame:
    return count_lead(*frames(case), today.date())


def wished(*case: Any, today: datetime = EVENT, weeks: int = LEAD_WEEKS) -> pd.DataFrame:
    return count_open(*frames(case), today.date(), weeks)


def first_weeks(counts: pd.DataFrame, weeks: int = 3) -> list[tuple[int, int]]:
    return [(int(row["open"]), int(row["bought"])) for row in counts.head(weeks).to_dict("records")]


def history(*figures: tuple[str, int, int, int]) -> pd.DataFrame:
    known = pd.DataFrame(figures, columns=["event_type", "lead_week", "open", "bought"])
    return known.set_index(["event_type", "lead_week"])


def opened(*figures: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(figures, columns=[*KEY, "registries", "open"]).set_index(KEY)


def stocked(stock: float, shop: str = "maple", variant_id: int = 1, item_id: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"shop": [shop], "variant_id": [variant_id], "item_id": [item_id], "stock": [float(stock)]})


HALF = history(("wedding", 0, 100, 50))


def test_what_was_open_when_a_lead_week_began_is_compared_with_what_was_bought_from_then_on() -> None:
    sales = [
        gift("2026-03-13T23:59:59-04:00"),
        gift("2026-03-14T00:00:00-04:00"),
        gift("2026-03-20T23:59:59-04:00"),
        gift("2026-03-21T00:00:00-04:00"),
    ]
    counts = lead([wedding(1)], [Wish(1, 1, 4)], sales)
    assert first_weeks(counts) == [(3, 2), (4, 3), (4, 3)]
    assert counts.index[0] == ("wedding", 0)
    assert len(counts) == 26
    assert counts["open"].tolist() == [3] + [4] * 25


def test_no_more_is_bought_than_is_open_of_each_item_and_no_less_than_nothing_is_open() -> None:
    sales = [gift("2026-03-10T12:00Z", 3), gift("2026-03-15T12:00Z", 3)]
    assert first_weeks(lead([wedding(1)], [Wish(1, 1, 2), Wish(1, 2, 2)], sales)) == [(2, 0), (4, 2), (4, 2)]


@pytest.mark.parametrize(("created", "weeks"), [("2026-03-14T03:59:59Z", [1, 0]), ("2026-03-14T04:00:00Z", [0, 0])])
def test_an_item_counts_in_the_weeks_that_began_when_it_was_there(created: str, weeks: list[int]) -> None:
    wish = Wish(1, 1, created_at=datetime.fromisoformat(created))
    assert lead([wedding(1)], [wish], [])["open"].tolist()[:2] == weeks


def test_history_is_of_the_last_365_days_of_all_registries_and_of_items_that_can_be_given() -> None:
    days = [6, 7, -358, -359]
    registries = [wedding(number, each, status="archived") for number, each in enumerate(days, start=1)]
    wishes = [Wish(each.registry_id, each.registry_id, 10**each.registry_id) for each in registries]
    hidden = [Wish(1, 5, status="hidden"), Wish(1, 6, status="discontinued"), Wish(1, 7, status="out_of_stock")]
    unborn = datetime(2024, 1, 1, tzinfo=UTC)
    counts = lead(registries, [each._replace(created_at=unborn) for each in wishes + hidden], [])
    assert counts["open"].tolist()[0] == 10 + 1000 + 1


def test_what_is_open_is_counted_by_variant_and_lead_week() -> None:
    registries = [wedding(1), wedding(2, 6), wedding(3, 7)]
    wishes = [Wish(1, 1, 5), Wish(2, 2, 1), Wish(3, 3, 2), Wish(3, 4, 1, 2)]
    counts = wished(registries, wishes, [Purchase(1, 1, 2), Purchase(3, 4, 7)])
    assert counts.to_dict("index") == {
        (*VARIANT, "wedding", 0): {"registries": 2, "open": 4},
        (*VARIANT, "wedding", 1): {"registries": 1, "open": 2},
    }


@pytest.mark.parametrize(
    "other",
    [{"status": "paused"}, {"days": -1}, {"days": 14}, {"event_date": None}],
    ids=["not active", "over", "too far off", "without a date"],
)
def test_only_events_to_come_of_active_registries_are_forecast(other: dict[str, Any]) -> None:
    counts = wished([wedding(1, 13), wedding(2, **other)], [Wish(1, 1), Wish(2, 2)], [], weeks=2)
    assert counts["registries"].tolist() == [1]


@pytest.mark.parametrize(("status", "there"), [("out_of_stock", 1), ("hidden", 0), ("discontinued", 0)])
def test_what_cannot_be_given_is_not_open(status: str, there: int) -> None:
    assert len(wished([wedding(1)], [Wish(1, 1, status=status)], [])) == there


def test_nothing_is_forecast_for_weeks_without_a_history() -> None:
    for weeks in (0, LEAD_WEEKS + 1):
        with pytest.raises(ValueError, match="from 1 to 26"):
            wished([], [], [], weeks=weeks)


def test_a_variant_has_the_stock_of_its_newest_item() -> None:
    registries = [wedding(1), wedding(2, status="paused"), wedding(3)]
    wishes = [Wish(1, 3, stock=-2), Wish(1, 2, stock=9), Wish(2, 9, stock=7), Wish(1, 4, status="hidden"), Wish(3, 5)]
    one, two = frames((registries[:2], wishes[:4], [])), frames((registries[2:], wishes[4:], []))
    assert rows(variant_stock(*one[:2])) == [{"shop": "maple", "variant_id": 1, "item_id": 3, "stock": -2.0}]
    both = pd.concat([variant_stock(*two[:2]), variant_stock(*one[:2])])
    assert demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), both, HALF)["stock"].tolist() == [5]


@pytest.mark.parametrize("wish", [Wish(1, 1, tracked=False), Wish(1, 1, policy="continue")])
def test_what_may_be_sold_without_being_there_has_no_limit(wish: Wish) -> None:
    registries, items, _ = frames(([wedding(1)], [wish], []))
    (found,) = rows(demand_forecast(opened((*VARIANT, "wedding", 0, 1, 9)), variant_stock(registries, items), HALF))
    assert (found["stock"], found["short"], found["short_if_all"], found["verdict"]) == (
        None,
        None,
        None,
        "not limited",
    )


def test_the_expectation_and_its_range_are_as_calculated_by_hand() -> None:
    known = history(("wedding", 0, 150, 90), ("baby", 0, 50, 10), ("baby", 1, 9, 9))
    counts = opened((*VARIANT, "wedding", 0, 3, 40), (*VARIANT, "baby", 0, 2, 20))
    # The rate of all is 0.5, of weddings (90 + 25) / 200, of babies (10 + 25) / 100.
    spread = 1.2815516 * (40 * 0.575 * 0.425 + 20 * 0.35 * 0.65) ** 0.5
    assert rows(demand_forecast(counts, stocked(20), known)) == [
        {
            "shop": "maple", "product_id": 1, "variant_id": 1, "product_title": "Vase", "variant_title": "Sage",
            "registries": 5, "open": 60, "expected": pytest.approx(30), "low": pytest.approx(30 - spread),
            "high": pytest.approx(30 + spread), "stock": 20, "short": pytest.approx(10), "short_if_all": 40,
            "verdict": "will run out",
        }
    ]  # fmt: skip


def test_an_event_type_without_history_has_the_rate_of_all() -> None:
    assert demand_forecast(opened((*VARIANT, "baby", 0, 1, 8)), stocked(1), HALF)["expected"].item() == 4


def test_without_history_nothing_is_expected_and_everything_is_possible() -> None:
    counts = opened((*VARIANT, "wedding", 0, 1, 8), (*VARIANT, "wedding", 1, 1, 4))
    for known in (HALF, add([]), history(("wedding", 0, 0, 0))):
        (found,) = rows(demand_forecast(counts, stocked(11), known))
        assert (found["expected"], found["short"], found["low"], found["high"]) == (None, None, 0, 12)
        assert (found["short_if_all"], found["verdict"]) == (1, "may run out")
    assert demand_forecast(counts, stocked(12), add([]))["verdict"].item() == "enough"


def test_the_range_stays_within_nothing_and_all_that_is_open() -> None:
    (found,) = rows(demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), stocked(1), HALF))
    assert (found["low"], found["expected"], found["high"]) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("stock", "verdict"),
    [(-3, "out of stock"), (43, "will run out"), (44, "may run out"), (56, "may run out"), (57, "enough")],
)
def test_the_verdict_compares_the_stock_with_the_range(stock: int, verdict: str) -> None:
    found = demand_forecast(opened((*VARIANT, "wedding", 0, 9, 100)), stocked(stock), HALF)
    assert (found["low"].item(), found["high"].item()) == pytest.approx((43.6, 56.4), abs=0.1)
    assert found["verdict"].item() == verdict


def test_what_is_out_of_stock_is_so_however_little_is_expected() -> None:
    found = demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), stocked(0), HALF)
    assert (found["low"].item(), found["verdict"].item()) == (0, "out of stock")


def test_the_scarcest_come_first_and_those_that_cannot_run_out_last() -> None:
    wants = [(1, 4, MISSING), (2, 4, 4), (3, 8, 5), (4, 8, 0), (5, 4, 1), (6, 4, 4)]
    counts = opened(*[("maple", 1, variant, "Vase", "Sage", "wedding", 0, 1, units) for variant, units, _ in wants])
    stock = pd.concat([stocked(left, variant_id=variant) for variant, _, left in wants])
    assert demand_forecast(counts, stock, HALF)["variant_id"].tolist() == [4, 5, 3, 2, 6, 1]


def test_a_variant_of_several_titles_is_one_and_bears_those_of_most_registries_and_shops_are_apart() -> None:
    old = (*VARIANT[:3], "Old vase", "Sage", "wedding", 0, 2, 9)
    new = [(*VARIANT, event_type, 0, 2, 1) for event_type in ("baby", "wedding")]
    other = ("palm", *VARIANT[1:], "wedding", 0, 1, 1)
    found = demand_forecast(opened(old, *new, other), stocked(1, "palm"), HALF)
    assert found[["shop", "product_title", "registries", "open", "verdict"]].to_numpy().tolist() == [
        ["palm", "Vase", 1, 1, "enough"],
        ["maple", "Vase", 6, 11, "not limited"],
    ]


def test_without_registries_there_is_no_forecast() -> None:
    registries, items, _ = frames(([], [], []))
    stock = variant_stock(registries, items)
    for counts, known in ((wished([], [], []), lead([], [], [])), (add([]), add([]))):
        assert rows(demand_forecast(counts, stock, known)) == []


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Registries with events before and after `TODAY`, on the hour, and what is wished for and bought of it."""
    moments = st.integers(0, 24 * 40).map(lambda hours: START + timedelta(hours=hours))
    dates = st.none() | st.integers(-40, 30).map(lambda days: TODAY + timedelta(days=days))
    facts = st.tuples(
        st.sampled_from(SHOPS), st.sampled_from(["baby", "wedding"]), st.sampled_from(["active", "paused"]), dates
    )
    registries = [
        Registry(number, *shop, event_type, status=status, event_date=event_date)
        for number, (shop, event_type, status, event_date) in enumerate(
            draw(st.lists(facts, min_size=1, max_size=12)), start=1
        )
    ]
    ids, small = st.sampled_from([each.registry_id for each in registries]), st.integers(1, 3)
    statuses = st.sampled_from(["active", "active", "out_of_stock", "hidden"])
    kinds = st.tuples(ids, small, small, statuses, moments, st.integers(-1, 4), st.booleans())
    wishes = [
        Wish(registry, number, *rest)
        for number, (registry, *rest) in enumerate(
            draw(st.lists(kinds, min_size=1, max_size=24, unique_by=lambda each: (each[0], each[2]))), start=1
        )
    ]
    sales = draw(st.lists(st.tuples(st.sampled_from(wishes), small, moments), max_size=40))
    return registries, wishes, [Purchase(*wish[:2], units, moment) for wish, units, moment in sales]


def sold(case: Case, wish: Wish, since: datetime = LONG_AGO, until: datetime = FOREVER) -> int:
    bought = (sale for sale in case[2] if sale.item_id == wish.item_id and since <= sale.created_at < until)
    return sum(sale.quantity for sale in bought)


def pairs(case: Case) -> Iterator[tuple[Registry, Wish, datetime]]:
    for wish in case[1]:
        registry = next(each for each in case[0] if each.registry_id == wish.registry_id)
        if wish.status != "hidden" and registry.event_date:
            yield registry, wish, registry.event_date


def slow_lead(case: Case) -> dict[tuple[str, int], dict[str, int]]:
    found: dict[tuple[str, int], dict[str, int]] = {}
    for registry, wish, event in pairs(case):
        for week in range(26) if event < TODAY else ():
            sums = found.setdefault((registry.event_type, week), {"open": 0, "bought": 0})
            begin, end = (
                datetime.combine((event + timedelta(days=days)).date(), time(), ZoneInfo(registry.timezone))
                for days in (-7 * week - 6, 1)
            )
            left = max(0, wish.wanted - sold(case, wish, until=begin)) if wish.created_at < begin else 0
            sums["open"] += left
            sums["bought"] += min(left, sold(case, wish, begin, end))
    return found


def slow_open(case: Case) -> dict[tuple[Any, ...], dict[str, int]]:
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    for registry, wish, event in pairs(case):
        left, week = wish.wanted - sold(case, wish), (event - TODAY).days // 7
        if left > 0 and registry.status == "active" and 0 <= week < 3:
            key = (registry.shop, 1, wish.variant_id, "Vase", "Sage", registry.event_type, week)
            sums = found.setdefault(key, {"registries": 0, "open": 0})
            sums["registries"] += 1
            sums["open"] += left
    return found


def slow_expected(wishes: dict[tuple[Any, ...], dict[str, int]], known: Any) -> dict[tuple[str, int], float]:
    found: dict[tuple[str, int], float] = {}
    for (shop, _, variant, *_, event_type, week), counts in wishes.items():
        own = known.get((event_type, week), {"open": 0, "bought": 0})
        every = [known.get((each, week), {"open": 0, "bought": 0}) for each in ("baby", "wedding")]
        begun = sum(each["open"] for each in every)
        usual = sum(each["bought"] for each in every) / begun if begun else MISSING
        rate = (own["bought"] + 50 * usual) / (own["open"] + 50)
        found[shop, variant] = found.get((shop, variant), 0) + counts["open"] * rate
    return found


def slow_stock(case: Case) -> dict[tuple[str, int], float]:
    shops = {each.registry_id: each.shop for each in case[0] if each.status == "active"}
    given_to = [wish for wish in case[1] if wish.registry_id in shops and wish.status != "hidden"]
    return {(shops[wish.registry_id], wish.variant_id): wish.stock if wish.tracked else MISSING for wish in given_to}


@settings(FEW, max_examples=examples(quick=8, deep=60))
@given(cases())
def test_demand_in_two_chunks_is_as_counted_one_by_one(case: Case) -> None:
    parts: list[Any] = [[[row for row in table if row.registry_id % 2 == odd] for table in case] for odd in (0, 1)]
    chunks = [frames(part) for part in parts]
    known = add(count_lead(*chunk, TODAY.date()) for chunk in chunks)
    wishes = add(count_open(*chunk, TODAY.date(), 3) for chunk in chunks)
    assert known.to_dict("index") == slow_lead(case)
    assert wishes.to_dict("index") == slow_open(case)
    stock = pd.concat([variant_stock(*chunk[:2]) for chunk in chunks])
    found = demand_forecast(wishes, stock, known).set_index(["shop", "variant_id"])
    expected = slow_expected(slow_open(case), slow_lead(case))
    assert found["expected"].to_dict() == pytest.approx(expected, nan_ok=True)
    assert found["stock"].to_dict() == pytest.approx({key: slow_stock(case)[key] for key in expected}, nan_ok=True)
