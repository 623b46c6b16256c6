from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.frame_chunks import FEW_EXAMPLES, SHOPS, START, Chunk, Purchase, Registry, rows
from tests.support.hypothesis_profiles import examples
from wishcraft.analytics import LEAD_WEEKS, add, count_lead, count_open, demand_forecast, variant_stock

EVENT = datetime(2026, 3, 20)  # noqa: DTZ001  a day
TODAY = datetime(2026, 3, 27)  # noqa: DTZ001  a day
LONG_AGO, FOREVER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
MISSING = float("nan")
VARIANT = ("maple", 1, 1, "Vase", "Sage")
KEY = ["shop", "product_id", "variant_id", "product_title", "variant_title", "event_type", "lead_week"]


class ItemRow(NamedTuple):
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


Case = tuple[Sequence[Registry], Sequence[ItemRow], Sequence[Purchase]]


def wedding(registry_id: int, days: int = 0, **facts: Any) -> Registry:
    """Its event is so many days after `EVENT`."""
    return Registry(registry_id, **{"event_date": EVENT + timedelta(days=days), **facts})


def gift(moment: str, quantity: int = 1) -> Purchase:
    return Purchase(1, 1, quantity, datetime.fromisoformat(moment).astimezone(UTC))


def frames(case: Case) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    registries, item_rows, purchases = case
    chunk = Chunk(registries, (), purchases)
    numbers = ["registry_id", "item_id", "wanted", "variant_id", "stock", "product_id"]
    types = (
        dict.fromkeys(numbers, "int64")
        | dict.fromkeys(["status", "policy", "product_title", "variant_title"], "category")
        | {"created_at": "datetime64[us, UTC]", "tracked": "bool"}
    )
    items = pd.DataFrame(item_rows, columns=list(ItemRow._fields)).astype(types)
    return chunk.registries, items, chunk.purchases


def lead(*case: Any) -> pd.DataFrame:
    return count_lead(*frames(case), TODAY.date())


def count_open_items(*case: Any, weeks: int = LEAD_WEEKS) -> pd.DataFrame:
    return count_open(*frames(case), EVENT.date(), weeks)


def first_weeks(counts: pd.DataFrame) -> list[tuple[int, int]]:
    return [(int(row["open"]), int(row["bought"])) for row in counts.head(3).to_dict("records")]


def history(*figures: tuple[str, int, int, int]) -> pd.DataFrame:
    known = pd.DataFrame(figures, columns=["event_type", "lead_week", "open", "bought"])
    return known.set_index(["event_type", "lead_week"])


def opened(*figures: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(figures, columns=[*KEY, "registries", "open"]).set_index(KEY)


def stocked(stock: float, shop: str = "maple", variant_id: int = 1, item_id: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"shop": [shop], "variant_id": [variant_id], "item_id": [item_id], "stock": [float(stock)]})


HALF = history(("wedding", 0, 100, 50))


def test_lead_counts_compare_open_units_with_later_purchases() -> None:
    sales = [
        gift("2026-03-13T23:59:59-04:00"),
        gift("2026-03-14T00:00:00-04:00"),
        gift("2026-03-20T23:59:59-04:00"),
        gift("2026-03-21T00:00:00-04:00"),
    ]
    counts = lead([wedding(1)], [ItemRow(1, 1, 4)], sales)
    assert first_weeks(counts) == [(3, 2), (4, 3), (4, 3)]
    assert counts.index[0] == ("wedding", 0)
    assert len(counts) == 26
    assert counts["open"].tolist() == [3] + [4] * 25


def test_lead_counts_are_capped_by_the_open_units_of_each_item() -> None:
    sales = [gift("2026-03-10T12:00Z", 3), gift("2026-03-15T12:00Z", 3)]
    assert first_weeks(lead([wedding(1)], [ItemRow(1, 1, 2), ItemRow(1, 2, 2)], sales)) == [(2, 0), (4, 2), (4, 2)]


@pytest.mark.parametrize(("created", "weeks"), [("2026-03-14T03:59:59Z", [1, 0]), ("2026-03-14T04:00:00Z", [0, 0])])
def test_item_counts_in_lead_weeks_that_began_after_its_creation(created: str, weeks: list[int]) -> None:
    item = ItemRow(1, 1, created_at=datetime.fromisoformat(created))
    assert lead([wedding(1)], [item], [])["open"].tolist()[:2] == weeks


def test_history_covers_365_days_of_all_registries_and_available_items() -> None:
    days = [6, 7, -358, -359]
    registries = [wedding(number, each, status="archived") for number, each in enumerate(days, start=1)]
    item_rows = [ItemRow(each.registry_id, each.registry_id, 10**each.registry_id) for each in registries]
    hidden = [
        ItemRow(1, 5, status="hidden"),
        ItemRow(1, 6, status="discontinued"),
        ItemRow(1, 7, status="out_of_stock"),
    ]
    unborn = datetime(2024, 1, 1, tzinfo=UTC)
    counts = lead(registries, [each._replace(created_at=unborn) for each in item_rows + hidden], [])
    assert counts["open"].tolist()[0] == 10 + 1000 + 1


def test_open_units_are_counted_by_variant_and_lead_week() -> None:
    registries = [wedding(1), wedding(2, 6), wedding(3, 7)]
    item_rows = [ItemRow(1, 1, 5), ItemRow(2, 2, 1), ItemRow(3, 3, 2), ItemRow(3, 4, 1, 2)]
    counts = count_open_items(registries, item_rows, [Purchase(1, 1, 2), Purchase(3, 4, 7)])
    assert counts.to_dict("index") == {
        (*VARIANT, "wedding", 0): {"registries": 2, "open": 4},
        (*VARIANT, "wedding", 1): {"registries": 1, "open": 2},
    }


@pytest.mark.parametrize(
    "other",
    [{"status": "paused"}, {"days": -1}, {"days": 14}, {"event_date": None}],
    ids=["not active", "over", "too far off", "without a date"],
)
def test_forecast_counts_only_coming_events_of_active_registries(other: dict[str, Any]) -> None:
    counts = count_open_items([wedding(1, 13), wedding(2, **other)], [ItemRow(1, 1), ItemRow(2, 2)], [], weeks=2)
    assert counts["registries"].tolist() == [1]


@pytest.mark.parametrize(("status", "there"), [("out_of_stock", 1), ("hidden", 0), ("discontinued", 0)])
def test_hidden_and_discontinued_items_are_not_open(status: str, there: int) -> None:
    assert len(count_open_items([wedding(1)], [ItemRow(1, 1, status=status)], [])) == there


def test_weeks_out_of_range_are_refused() -> None:
    for weeks in (0, LEAD_WEEKS + 1):
        with pytest.raises(ValueError, match="from 1 to 26"):
            count_open_items([], [], [], weeks=weeks)


def test_variant_has_the_stock_of_its_newest_item() -> None:
    registries = [wedding(1), wedding(2, status="paused"), wedding(3)]
    item_rows = [
        ItemRow(1, 3, stock=-2),
        ItemRow(1, 2, stock=9),
        ItemRow(2, 9, stock=7),
        ItemRow(1, 4, status="hidden"),
        ItemRow(3, 5),
    ]
    one, two = frames((registries[:2], item_rows[:4], [])), frames((registries[2:], item_rows[4:], []))
    assert rows(variant_stock(*one[:2])) == [{"shop": "maple", "variant_id": 1, "item_id": 3, "stock": -2.0}]
    both = pd.concat([variant_stock(*two[:2]), variant_stock(*one[:2])])
    assert demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), both, HALF)["stock"].tolist() == [5]


@pytest.mark.parametrize("item", [ItemRow(1, 1, tracked=False), ItemRow(1, 1, policy="continue")])
def test_variant_that_may_be_oversold_has_no_stock_limit(item: ItemRow) -> None:
    registries, items, _ = frames(([wedding(1)], [item], []))
    (result,) = rows(demand_forecast(opened((*VARIANT, "wedding", 0, 1, 9)), variant_stock(registries, items), HALF))
    assert (result["stock"], result["short"], result["short_if_all"], result["verdict"]) == (
        None,
        None,
        None,
        "not limited",
    )


def test_expected_units_and_interval_match_a_manual_calculation() -> None:
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


def test_event_type_without_history_has_the_overall_rate() -> None:
    assert demand_forecast(opened((*VARIANT, "baby", 0, 1, 8)), stocked(1), HALF)["expected"].item() == 4


def test_without_history_expected_is_missing_and_the_interval_is_0_to_open() -> None:
    counts = opened((*VARIANT, "wedding", 0, 1, 8), (*VARIANT, "wedding", 1, 1, 4))
    for known in (HALF, add([]), history(("wedding", 0, 0, 0))):
        (result,) = rows(demand_forecast(counts, stocked(11), known))
        assert (result["expected"], result["short"], result["low"], result["high"]) == (None, None, 0, 12)
        assert (result["short_if_all"], result["verdict"]) == (1, "may run out")
    assert demand_forecast(counts, stocked(12), add([]))["verdict"].item() == "enough"


def test_interval_stays_between_0_and_open() -> None:
    (result,) = rows(demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), stocked(1), HALF))
    assert (result["low"], result["expected"], result["high"]) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("stock", "verdict"),
    [(-3, "out of stock"), (43, "will run out"), (44, "may run out"), (56, "may run out"), (57, "enough")],
)
def test_verdict_compares_the_stock_with_the_interval(stock: int, verdict: str) -> None:
    result = demand_forecast(opened((*VARIANT, "wedding", 0, 9, 100)), stocked(stock), HALF)
    assert (result["low"].item(), result["high"].item()) == pytest.approx((43.6, 56.4), abs=0.1)
    assert result["verdict"].item() == verdict


def test_variant_without_stock_is_out_of_stock_at_any_expectation() -> None:
    result = demand_forecast(opened((*VARIANT, "wedding", 0, 1, 1)), stocked(0), HALF)
    assert (result["low"].item(), result["verdict"].item()) == (0, "out of stock")


def test_forecast_is_sorted_by_shortage_with_unlimited_variants_last() -> None:
    wants = [(1, 4, MISSING), (2, 4, 4), (3, 8, 5), (4, 8, 0), (5, 4, 1), (6, 4, 4)]
    counts = opened(*[("maple", 1, variant, "Vase", "Sage", "wedding", 0, 1, units) for variant, units, _ in wants])
    stock = pd.concat([stocked(left, variant_id=variant) for variant, _, left in wants])
    assert demand_forecast(counts, stock, HALF)["variant_id"].tolist() == [4, 5, 3, 2, 6, 1]


def test_variants_are_merged_by_id_per_shop_under_their_most_common_titles() -> None:
    old = (*VARIANT[:3], "Old vase", "Sage", "wedding", 0, 2, 9)
    new = [(*VARIANT, event_type, 0, 2, 1) for event_type in ("baby", "wedding")]
    other = ("palm", *VARIANT[1:], "wedding", 0, 1, 1)
    result = demand_forecast(opened(old, *new, other), stocked(1, "palm"), HALF)
    assert result[["shop", "product_title", "registries", "open", "verdict"]].to_numpy().tolist() == [
        ["palm", "Vase", 1, 1, "enough"],
        ["maple", "Vase", 6, 11, "not limited"],
    ]


def test_no_registries_give_no_forecast() -> None:
    registries, items, _ = frames(([], [], []))
    stock = variant_stock(registries, items)
    for counts, known in ((count_open_items([], [], []), lead([], [], [])), (add([]), add([]))):
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
    item_rows = [
        ItemRow(registry, number, *rest)
        for number, (registry, *rest) in enumerate(
            draw(st.lists(kinds, min_size=1, max_size=24, unique_by=lambda each: (each[0], each[2]))), start=1
        )
    ]
    sales = draw(st.lists(st.tuples(st.sampled_from(item_rows), small, moments), max_size=40))
    return registries, item_rows, [Purchase(*item[:2], units, moment) for item, units, moment in sales]


def sold(case: Case, item: ItemRow, since: datetime = LONG_AGO, until: datetime = FOREVER) -> int:
    bought = (sale for sale in case[2] if sale.item_id == item.item_id and since <= sale.created_at < until)
    return sum(sale.quantity for sale in bought)


def pairs(case: Case) -> Iterator[tuple[Registry, ItemRow, datetime]]:
    for item in case[1]:
        registry = next(each for each in case[0] if each.registry_id == item.registry_id)
        if item.status != "hidden" and registry.event_date:
            yield registry, item, registry.event_date


def slow_lead(case: Case) -> dict[tuple[str, int], dict[str, int]]:
    result: dict[tuple[str, int], dict[str, int]] = {}
    for registry, item, event in pairs(case):
        for week in range(26) if event < TODAY else ():
            sums = result.setdefault((registry.event_type, week), {"open": 0, "bought": 0})
            begin, end = (
                datetime.combine((event + timedelta(days=days)).date(), time(), ZoneInfo(registry.timezone))
                for days in (-7 * week - 6, 1)
            )
            left = max(0, item.wanted - sold(case, item, until=begin)) if item.created_at < begin else 0
            sums["open"] += left
            sums["bought"] += min(left, sold(case, item, begin, end))
    return result


def slow_open(case: Case) -> dict[tuple[Any, ...], dict[str, int]]:
    result: dict[tuple[Any, ...], dict[str, int]] = {}
    for registry, item, event in pairs(case):
        left, week = item.wanted - sold(case, item), (event - TODAY).days // 7
        if left > 0 and registry.status == "active" and 0 <= week < 3:
            key = (registry.shop, 1, item.variant_id, "Vase", "Sage", registry.event_type, week)
            sums = result.setdefault(key, {"registries": 0, "open": 0})
            sums["registries"] += 1
            sums["open"] += left
    return result


def slow_expected(item_rows: dict[tuple[Any, ...], dict[str, int]], known: Any) -> dict[tuple[str, int], float]:
    result: dict[tuple[str, int], float] = {}
    for (shop, _, variant, *_, event_type, week), counts in item_rows.items():
        own = known.get((event_type, week), {"open": 0, "bought": 0})
        every = [known.get((each, week), {"open": 0, "bought": 0}) for each in ("baby", "wedding")]
        begun = sum(each["open"] for each in every)
        usual = sum(each["bought"] for each in every) / begun if begun else MISSING
        rate = (own["bought"] + 50 * usual) / (own["open"] + 50)
        result[shop, variant] = result.get((shop, variant), 0) + counts["open"] * rate
    return result


def slow_stock(case: Case) -> dict[tuple[str, int], float]:
    shops = {each.registry_id: each.shop for each in case[0] if each.status == "active"}
    available = [item for item in case[1] if item.registry_id in shops and item.status != "hidden"]
    return {(shops[item.registry_id], item.variant_id): item.stock if item.tracked else MISSING for item in available}


@settings(FEW_EXAMPLES, max_examples=examples(quick=8, deep=60))
@given(cases())
def test_demand_in_two_chunks_matches_a_plain_loop(case: Case) -> None:
    parts: list[Any] = [[[row for row in table if row.registry_id % 2 == odd] for table in case] for odd in (0, 1)]
    chunks = [frames(part) for part in parts]
    known = add(count_lead(*chunk, TODAY.date()) for chunk in chunks)
    item_rows = add(count_open(*chunk, TODAY.date(), 3) for chunk in chunks)
    assert known.to_dict("index") == slow_lead(case)
    assert item_rows.to_dict("index") == slow_open(case)
    stock = pd.concat([variant_stock(*chunk[:2]) for chunk in chunks])
    result = demand_forecast(item_rows, stock, known).set_index(["shop", "variant_id"])
    expected = slow_expected(slow_open(case), slow_lead(case))
    assert result["expected"].to_dict() == pytest.approx(expected, nan_ok=True)
    assert result["stock"].to_dict() == pytest.approx({key: slow_stock(case)[key] for key in expected}, nan_ok=True)
