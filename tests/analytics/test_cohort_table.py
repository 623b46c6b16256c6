from datetime import UTC, date, datetime

import pandas as pd
from hypothesis import given
from hypothesis.strategies import sampled_from
from pandas.testing import assert_frame_equal

from tests.support.frame_chunks import FEW_EXAMPLES, Chunk, Item, Purchase, Registry, chunks, rows
from wishcraft.analytics import add, cohorts, count_cohorts

UNTIL = datetime(2026, 5, 1, 12, tzinfo=UTC)
"""April has just ended everywhere."""


def noon(month: int, day: int = 15) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def counts(chunk: Chunk, until: datetime = UNTIL) -> pd.DataFrame:
    return count_cohorts(chunk.registries, chunk.purchases, until)


def figures(chunk: Chunk, until: datetime = UNTIL) -> list[tuple[int, ...]]:
    """Registries, active and first, age by age and cohort by cohort."""
    return [tuple(row) for row in counts(chunk, until).to_numpy()]


def test_cohort_counts_every_month_from_creation_that_is_over() -> None:
    registries = [Registry(1, created_at=noon(2)), Registry(2, created_at=noon(2, 20)), Registry(3, created_at=noon(4))]
    sales = [
        Purchase(1, 1, 1, noon(4)),
        Purchase(1, 1, 1, noon(2, 28)),
        Purchase(2, 2, 1, noon(4)),
        Purchase(2, 2, 1, noon(4)),
    ]
    result = cohorts(counts(Chunk(registries, [Item(1, 1), Item(2, 2)], sales)))
    assert [tuple(row.values())[1:] for row in rows(result)] == [
        (pd.Timestamp("2026-02-01"), 0, 2, 1, 1, 0.5, 0.5),
        (pd.Timestamp("2026-02-01"), 1, 2, 0, 0, 0.0, 0.5),
        (pd.Timestamp("2026-02-01"), 2, 2, 2, 1, 1.0, 1.0),
        (pd.Timestamp("2026-04-01"), 0, 1, 0, 0, 0.0, 0.0),
    ]
    assert counts(Chunk(registries, [Item(1, 1), Item(2, 2)], sales), noon(4, 30)).index.tolist() == [
        ("maple", pd.Timestamp("2026-02-01"), 0),
        ("maple", pd.Timestamp("2026-02-01"), 1),
    ]
    assert list(result.columns) == [
        "shop", "cohort", "age", "registries", "active", "first", "active_share", "bought_share"
    ]  # fmt: skip


def test_bought_share_accumulates_per_shop() -> None:
    registries = [Registry(1, created_at=noon(3)), Registry(2, "palm", created_at=noon(3))]
    result = cohorts(counts(Chunk(registries, [Item(1, 1)], [Purchase(1, 1, 1, noon(3))])))
    assert result["bought_share"].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_purchase_before_creation_counts_at_age_0() -> None:
    chunk = Chunk([Registry(1, created_at=noon(4))], [Item(1, 1)], [Purchase(1, 1, 1, noon(2))])
    assert figures(chunk) == [(1, 1, 1)]


def test_registries_and_purchases_after_the_end_do_not_count() -> None:
    registries = [Registry(1, created_at=noon(3)), Registry(2, created_at=noon(4))]
    chunk = Chunk(registries, [Item(1, 1)], [Purchase(1, 1, 1, noon(4))])
    assert figures(chunk, noon(5, 10)) == [(1, 0, 0), (1, 1, 1), (1, 0, 0)]
    assert figures(chunk, noon(4, 10)) == [(1, 0, 0)]
    assert figures(chunk, noon(3, 31)) == figures(chunk, noon(2)) == []


def test_purchase_of_the_current_month_does_not_count_in_any_chunk() -> None:
    """A new shop has registries of the current month alone."""
    new, sale = Registry(1, created_at=noon(5, 2)), Purchase(1, 1, 1, noon(5, 9))
    assert figures(Chunk([new], [Item(1, 1)], [sale]), noon(5, 10)) == []
    old = Registry(2, created_at=noon(4))
    assert figures(Chunk([old, new], [Item(1, 1)], [sale]), noon(5, 10)) == [(1, 0, 0)]


def test_months_are_those_of_the_shops_time_zone() -> None:
    late = datetime(2026, 4, 1, 3, tzinfo=UTC)  # still March in New York, whose clocks are 4 hours behind by now
    places = [("maple", "America/New_York"), ("linden", "Europe/Berlin")]
    registries = [
        Registry(number, shop, timezone=timezone, created_at=late) for number, (shop, timezone) in enumerate(places)
    ]
    assert counts(Chunk(registries), datetime(2026, 5, 1, 3, tzinfo=UTC)).index.tolist() == [
        ("linden", pd.Timestamp("2026-04-01"), 0),
        ("maple", pd.Timestamp("2026-03-01"), 0),
    ]
    sale = Purchase(0, 1, 1, datetime(2026, 4, 1, 4, tzinfo=UTC))
    assert figures(Chunk(registries[:1], [Item(0, 1)], [sale])) == [(1, 0, 0), (1, 1, 1)]


def test_shares_over_shops_are_of_the_registries_that_reached_the_age() -> None:
    places = [("maple", "America/New_York"), ("sakura", "Asia/Tokyo")]
    registries = [
        Registry(number, shop, timezone=timezone, created_at=noon(3)) for number, (shop, timezone) in enumerate(places)
    ]
    evening = datetime(2026, 4, 30, 20, tzinfo=UTC)  # April is over in Tokyo
    chunk = Chunk(registries, [Item(0, 1)], [Purchase(0, 1, 1, noon(3, 20))])
    result = cohorts(counts(chunk, evening), ())
    assert list(result.columns)[:3] == ["cohort", "age", "registries"]
    assert result[["registries", "active_share", "bought_share"]].to_numpy().tolist() == [[2, 0.5, 0.5], [1, 0, 0]]


def test_no_registries_give_no_rows() -> None:
    assert rows(cohorts(counts(Chunk()))) == rows(cohorts(add([]))) == []


def months(earlier: date, later: date) -> int:
    return 12 * (later.year - earlier.year) + later.month - earlier.month


@FEW_EXAMPLES
@given(chunks(days=110), sampled_from([UNTIL, noon(4, 10), noon(3, 20)]))
def test_cohorts_match_a_plain_loop_for_any_chunking(chunk: Chunk, until: datetime) -> None:
    expected: dict[tuple[str, pd.Timestamp, int], list[int]] = {}
    for registry in chunk.all_registries:
        if registry.created_at > until:
            continue
        born = registry.local(registry.created_at)
        sales = [each for each in chunk.all_purchases if each.registry_id == registry.registry_id]
        ages = {max(0, months(born, registry.local(each.created_at))) for each in sales if each.created_at <= until}
        for age in range(months(born, registry.local(until))):
            sums = expected.setdefault((registry.shop, pd.Timestamp(born.replace(day=1)), age), [0, 0, 0])
            for place, figure in enumerate((True, age in ages, age == min(ages, default=None))):
                sums[place] += figure
    result = counts(chunk, until)
    assert dict(zip(result.index, result.to_numpy().tolist(), strict=True)) == expected
    parts = (counts(each, until) for each in chunk.parts())
    assert_frame_equal(add(parts), result, check_freq=False)
