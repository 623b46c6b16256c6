from collections import Counter
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from pandas.testing import assert_frame_equal

from tests.support.frame_chunks import EVENTS, FEW_EXAMPLES, START, Chunk, Event, Registry, chunks, rows
from wishcraft.analytics import STEPS, add, count_visits, funnel

VIEW, CLICK, CART, PURCHASE = EVENTS
WEEK = timedelta(weeks=1)


def steps(*events: Event, registries: tuple[Registry, ...] = (Registry(1),)) -> list[tuple[int, ...]]:
    chunk = Chunk(registries, (), (), events)
    return [tuple(row) for row in count_visits(chunk.events, chunk.registries).to_numpy()]


def counts_of(*figures: tuple[str, str, int, int, int, int]) -> pd.DataFrame:
    """Counts of one week."""
    frame = pd.DataFrame(figures, columns=["shop", "event_type", *STEPS])
    return frame.assign(week=pd.Timestamp("2026-03-02")).set_index(["shop", "event_type", "week"])


def test_later_step_includes_the_steps_before() -> None:
    assert steps(Event(1, 1, PURCHASE)) == [(1, 1, 1, 1)]
    assert steps(Event(1, 1, VIEW), Event(1, 1, CART)) == [(1, 1, 1, 0)]


def test_events_of_one_visitor_and_registry_in_a_week_are_one_visit() -> None:
    assert steps(Event(1, 1, VIEW), Event(1, 1, VIEW), Event(1, 1, CLICK)) == [(1, 1, 0, 0)]


def test_two_visitors_registries_or_weeks_are_two_visits() -> None:
    two = (Registry(1), Registry(2))
    assert steps(Event(1, 1, VIEW), Event(1, 2, CLICK)) == [(2, 1, 0, 0)]
    assert steps(Event(1, 1, VIEW), Event(2, 1, CLICK), registries=two) == [(2, 1, 0, 0)]
    assert steps(Event(1, 1, VIEW), Event(1, 1, CLICK, START + WEEK)) == [(1, 0, 0, 0), (1, 1, 0, 0)]


def test_rates_are_shares_of_the_step_before() -> None:
    assert rows(funnel(counts_of(("maple", "wedding", 100, 40, 30, 3)))) == [
        {
            "shop": "maple", "viewed": 100, "clicked": 40, "in_cart": 30, "purchased": 3,
            "click_rate": 0.4, "cart_rate": 0.75, "purchase_rate": 0.1, "conversion": 0.03,
            "gives_up": "in_cart → purchased",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "gives_up"),
    [
        ((10, 4, 4, 4), "viewed → clicked"),
        ((10, 9, 1, 1), "clicked → in_cart"),
        ((10, 5, 5, 2), "in_cart → purchased"),
        ((8, 4, 2, 1), "viewed → clicked"),
        ((8, 0, 0, 0), "viewed → clicked"),
        ((3, 3, 3, 3), None),
        ((0, 0, 0, 0), None),
    ],
)
def test_weakest_step_is_the_one_with_the_lowest_rate(figures: tuple[int, int, int, int], gives_up: str | None) -> None:
    (row,) = rows(funnel(counts_of(("maple", "wedding", *figures))))
    assert row["gives_up"] == gives_up


def test_funnel_is_grouped_by_the_given_columns() -> None:
    counts = counts_of(("maple", "baby", 4, 2, 1, 1), ("maple", "wedding", 6, 1, 1, 0), ("palm", "baby", 2, 1, 1, 1))
    assert [(row["shop"], row["viewed"], row["click_rate"]) for row in rows(funnel(counts))] == [
        ("maple", 10, 0.3),
        ("palm", 2, 0.5),
    ]
    assert [(row["event_type"], row["viewed"]) for row in rows(funnel(counts, ("event_type",)))] == [
        ("baby", 6),
        ("wedding", 6),
    ]
    assert [row["viewed"] for row in rows(funnel(counts, ()))] == [12]
    assert list(funnel(counts, ("week", "shop")).columns[:2]) == ["week", "shop"]


def test_no_visits_give_no_groups_and_a_total_of_0() -> None:
    for counts in (count_visits(Chunk().events, Chunk().registries), add([])):
        assert rows(funnel(counts)) == []
        (whole,) = rows(funnel(counts, ()))
        assert {name for name, figure in whole.items() if figure is not None} == set(STEPS)
        assert whole["viewed"] == 0


@FEW_EXAMPLES
@given(chunks())
def test_visits_match_a_plain_loop_for_any_chunking(chunk: Chunk) -> None:
    reached: dict[tuple[Registry, int, pd.Timestamp], int] = {}
    for event in chunk.all_events:
        registry = chunk.registry(event.registry_id)
        day = registry.local(event.occurred_at)
        visit = (registry, event.visitor, pd.Timestamp(day - timedelta(days=day.weekday())))
        reached[visit] = max(reached.get(visit, 0), EVENTS.index(event.type))
    expected = {step: Counter[tuple[str, str, pd.Timestamp]]() for step in STEPS}
    for (registry, _, week), furthest in reached.items():
        for place, step in enumerate(STEPS):
            expected[step][registry.shop, registry.event_type, week] += place <= furthest
    counts = count_visits(chunk.events, chunk.registries)
    assert counts.to_dict() == expected
    assert_frame_equal(
        add(count_visits(part.events, part.registries) for part in chunk.parts()), counts, check_freq=False
    )
