from datetime import datetime, timedelta
from statistics import mean, median
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from pandas.testing import assert_frame_equal

from tests.support.frame_chunks import FEW_EXAMPLES, START, Chunk, Item, Purchase, Registry, chunks, rows
from wishcraft.analytics import completion, fulfil, gift_value, guests

DAY = timedelta(days=1)


def fulfilled(chunk: Chunk) -> pd.DataFrame:
    return fulfil(chunk.registries, chunk.items, chunk.purchases)


def one(chunk: Chunk) -> dict[str, Any]:
    (row,) = rows(fulfilled(chunk))
    return row


def test_registry_is_completed_by_the_purchase_of_its_last_open_unit() -> None:
    items = [Item(1, 1, wanted=3), Item(1, 2, wanted=1)]
    early = [Purchase(1, 2, 1, START + DAY), Purchase(1, 1, 2, START + 2 * DAY)]
    half = one(Chunk([Registry(1)], items, early))
    assert (half["completed"], half["completed_at"], half["days_to_complete"]) == (False, None, None)
    assert (half["items"], half["wanted"], half["bought"]) == (2, 4, 3)
    later = [Purchase(1, 2, 1, START + 9 * DAY), Purchase(1, 1, 5, START + 2.5 * DAY)]
    whole = one(Chunk([Registry(1)], items, [*later, *early]))
    assert (whole["completed"], whole["completed_at"]) == (True, START + 2.5 * DAY)
    assert whole["days_to_complete"] == pytest.approx(2.5)
    assert (whole["bought"], whole["surplus"]) == (4, 5)


def test_surplus_of_one_item_fulfils_no_other_item() -> None:
    row = one(Chunk([Registry(1)], [Item(1, 1), Item(1, 2)], [Purchase(1, 1, 2)]))
    assert (row["bought"], row["surplus"], row["completed"]) == (1, 1, False)


def test_removed_item_is_wished_for_no_more_and_what_was_bought_of_it_stays() -> None:
    items = [Item(1, 1), Item(1, 2, wanted=3, status="hidden")]
    sales = [Purchase(1, 1, 1, START + DAY), Purchase(1, 2, 1, START + 2 * DAY, guest=2, gift=2)]
    row = one(Chunk([Registry(1)], items, sales))
    assert (row["items"], row["wanted"], row["bought"], row["surplus"]) == (1, 1, 1, 0)
    assert (row["completed"], row["completed_at"]) == (True, START + DAY)
    assert (row["guests"], row["gifts"], row["value_e4"]) == (2, 2, 200_000)


def test_simultaneous_purchases_complete_an_item_together() -> None:
    row = one(Chunk([Registry(1)], [Item(1, 1, wanted=2)], [Purchase(1, 1, 1, START + DAY)] * 2))
    assert row["completed_at"] == START + DAY


def test_registry_without_items_has_a_row_and_is_not_completed() -> None:
    row = one(Chunk([Registry(7)]))
    assert (row["registry_id"], row["items"], row["completed"], row["guests"], row["value_e4"]) == (
        7,
        0,
        False,
        0,
        0,
    )


def test_guests_and_gifts_are_counted_once_per_registry() -> None:
    sales = [
        Purchase(1, 1, 2, guest=4, gift=1),
        Purchase(1, 1, gift=2, guest=4, unit_e4=25_000),
        Purchase(1, 1, gift=2),
    ]
    row = one(Chunk([Registry(1)], [Item(1, 1)], sales))
    assert (row["guests"], row["gifts"], row["value_e4"]) == (2, 2, 325_000)


def test_sum_of_the_greatest_amounts_is_not_negative() -> None:
    sales = [Purchase(1, 1, 1_000_000, gift=each, unit_e4=10**15 - 1) for each in (1, 2)]
    row = one(Chunk([Registry(1)], [Item(1, 1)], sales))
    assert row["value_e4"] == pytest.approx(2 * 10**21)


def test_completion_has_counts_shares_and_quantiles_of_days() -> None:
    sales = [Purchase(number, number, 1, START + number * DAY) for number in (1, 2, 3)]
    items = [Item(1, 1), Item(2, 2), Item(3, 3), Item(4, 4, wanted=7)]
    frame = fulfilled(Chunk([Registry(number) for number in range(1, 6)], items, sales))
    expected = {
        "registries": 5, "completed": 3, "completed_share": 0.6, "wanted": 10, "bought": 3, "fulfilment": 0.3,
        "days_p25": 1.5, "days_median": 2.0, "days_p75": 2.5,
    }  # fmt: skip
    assert rows(completion(frame)) == [{"shop": "maple", **expected}]
    assert rows(completion(frame, ())) == [expected]


def test_guest_means_include_registries_without_guests() -> None:
    sales = [Purchase(1, 1, guest=number) for number in (1, 2, 3)] + [Purchase(2, 2)]
    chunk = Chunk([Registry(each) for each in (1, 2, 3, 4)], [Item(1, 1), Item(2, 2)], sales)
    assert rows(guests(fulfilled(chunk), ("shop", "event_type"))) == [
        {
            "shop": "maple", "event_type": "wedding", "registries": 4,
            "guests_mean": 1.0, "guests_median": 0.5, "guests_max": 3, "without_guests": 0.5,
        }
    ]  # fmt: skip


def test_amounts_of_two_currencies_are_never_summed() -> None:
    registries = [Registry(1), Registry(2), Registry(3, "sakura", "JPY"), Registry(4, "linden", "EUR")]
    items = [Item(each, each) for each in (1, 2, 3)]
    sales = [Purchase(1, 1, 2, gift=1), Purchase(1, 1, 1, gift=2, unit_e4=55_000), Purchase(3, 3, unit_e4=20_000_000)]
    frame = fulfilled(Chunk(registries, items, sales))
    figures = ["currency", "registries", "gifts", "guests", "value", "per_registry", "per_gift", "per_guest"]
    by_type = gift_value(frame, ("event_type",))
    assert list(by_type.columns) == ["event_type", *figures]
    assert [tuple(row.values()) for row in rows(by_type[figures])] == [
        ("EUR", 1, 0, 0, 0.0, 0.0, None, None),
        ("JPY", 1, 1, 1, 2000.0, 2000.0, 2000.0, 2000.0),
        ("USD", 2, 2, 1, 25.5, 12.75, 12.75, 25.5),
    ]
    assert_frame_equal(gift_value(frame, ()), gift_value(frame, ("currency",)))


def test_no_registries_give_no_groups_and_a_total_of_0() -> None:
    nothing = fulfilled(Chunk())
    assert (rows(completion(nothing)), rows(guests(nothing)), rows(gift_value(nothing))) == ([], [], [])
    assert completion(nothing, ())["registries"].tolist() == guests(nothing, ())["registries"].tolist() == [0]


def completed_at(items: list[Item], chunk: Chunk) -> datetime | None:
    """Each item's purchases one by one, until it has what is wanted."""
    moments = []
    for item in items:
        left = item.wanted
        for purchase in chunk.bought(item):
            if left > 0 and purchase.quantity >= left:
                moments.append(purchase.created_at)
            left -= purchase.quantity
    return max(moments) if items and len(moments) == len(items) else None


def one_by_one(chunk: Chunk) -> list[dict[str, Any]]:
    result = []
    for registry in chunk.all_registries:
        part = chunk.only(registry.registry_id.__eq__)
        items, sales = list(part.all_items), part.all_purchases
        sold = [sum(purchase.quantity for purchase in part.bought(item)) for item in items]
        bought = sum(min(each, item.wanted) for each, item in zip(sold, items, strict=True))
        done = completed_at(items, part)
        result.append({
            "registry_id": registry.registry_id, "shop": registry.shop, "currency": registry.currency,
            "event_type": registry.event_type, "status": registry.status, "created_at": registry.created_at,
            "event_date": None, "items": len(items), "wanted": sum(item.wanted for item in items), "bought": bought,
            "surplus": sum(sold) - bought, "completed": done is not None, "completed_at": done,
            "days_to_complete": None if done is None else (done - registry.created_at) / DAY,
            "guests": len({each.guest for each in sales}), "gifts": len({each.gift for each in sales}),
            "value_e4": sum(each.quantity * each.unit_e4 for each in sales),
        })  # fmt: skip
    return result


@FEW_EXAMPLES
@given(chunks())
def test_fulfilment_matches_a_plain_loop_for_any_chunking(chunk: Chunk) -> None:
    frame = fulfilled(chunk)
    assert rows(frame) == one_by_one(chunk)
    parts = pd.concat(map(fulfilled, chunk.parts()))
    assert_frame_equal(parts.sort_values("registry_id", ignore_index=True), frame)


@FEW_EXAMPLES
@given(chunks())
def test_group_figures_match_a_plain_loop(chunk: Chunk) -> None:
    frame, registries = fulfilled(chunk), one_by_one(chunk)
    for done, given_by in zip(rows(completion(frame)), rows(guests(frame, ("shop",))), strict=True):
        group = [each for each in registries if each["shop"] == done["shop"] == given_by["shop"]]
        days = [each["days_to_complete"] for each in group if each["completed"]]
        assert (done["registries"], done["completed"], given_by["registries"]) == (len(group), len(days), len(group))
        assert done["days_median"] == (pytest.approx(median(days)) if days else None)
        assert given_by["guests_mean"] == pytest.approx(mean(each["guests"] for each in group))
        assert given_by["without_guests"] == pytest.approx(mean(each["guests"] == 0 for each in group))
