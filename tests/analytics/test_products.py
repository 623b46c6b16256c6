from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from pandas.testing import assert_frame_equal

from tests.support.frame_chunks import FEW_EXAMPLES, Chunk, Item, Purchase, Registry, chunks, rows
from wishcraft.analytics import add, count_price_bands, count_products, never_bought, price_bands, top_products

FIGURES = ["registries", "wanted", "bought", "sold", "value"]
SHOP = [Registry(1), Registry(2), Registry(3)]
ITEMS = [
    Item(1, 1, 2, variant_id=1),
    Item(2, 2, 1, variant_id=1),
    Item(1, 3, 9, variant_id=2),
    Item(2, 4, 1, variant_id=3),
    Item(3, 5, 1, variant_id=3),
    Item(3, 6, 4, variant_id=4),
]
SALES = [Purchase(1, 1, 3), Purchase(2, 2, 1), Purchase(1, 3, 1, unit_e4=9_000_000)]


def products(chunk: Chunk) -> pd.DataFrame:
    return count_products(chunk.registries, chunk.items, chunk.purchases)


def bands(chunk: Chunk) -> pd.DataFrame:
    return count_price_bands(chunk.registries, chunk.items, chunk.purchases)


def order(frame: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(frame["rank"], frame["variant_id"], strict=True))


def test_product_is_summed_over_all_registries() -> None:
    best = top_products(products(Chunk(SHOP, ITEMS, SALES)), 1)
    assert rows(best[FIGURES]) == [{"registries": 2, "wanted": 3, "bought": 3, "sold": 4, "value": 40.0}]


def test_products_are_ranked_by_the_given_measure() -> None:
    counts = products(Chunk(SHOP, ITEMS, SALES))
    assert order(top_products(counts, 5)) == [(1, 1), (2, 2)]
    assert order(top_products(counts, 5, "value")) == [(1, 2), (2, 1)]
    assert order(top_products(counts, 3, "wanted")) == [(1, 2), (2, 4), (3, 1)]
    assert order(never_bought(counts, 5)) == [(1, 3), (2, 4)]


def test_removed_items_are_sold_and_not_wanted() -> None:
    items = [Item(1, 1, 5, status="hidden"), Item(1, 2, 4, variant_id=2, status="hidden"), Item(2, 3, 2)]
    chunk = Chunk([Registry(1), Registry(2)], items, [Purchase(1, 1, 3), Purchase(2, 3, 1)])
    counts = count_products(chunk.registries, chunk.items, chunk.purchases)
    [sold] = rows(top_products(counts, 9))
    assert [sold[name] for name in ("registries", "wanted", "bought", "sold")] == [1, 2, 1, 4]
    assert rows(never_bought(counts, 9)) == []
    [band] = rows(price_bands(count_price_bands(chunk.registries, chunk.items, chunk.purchases)))
    assert [band[name] for name in ("items", "wanted", "sold", "sell_through")] == [1, 2, 4, 0.5]


def test_each_shop_has_its_own_ranks() -> None:
    registries = [Registry(1), Registry(2, "palm")]
    items = [Item(1, 1, 5), Item(1, 2, 4, variant_id=2), Item(2, 3, 1, variant_id=3), Item(2, 4, 1, variant_id=4)]
    result = top_products(products(Chunk(registries, items)), 1, "wanted")
    assert list(zip(result["shop"], result["rank"], result["variant_id"], strict=True)) == [
        ("maple", 1, 1),
        ("palm", 1, 3),
    ]


def test_variant_has_its_most_common_titles() -> None:
    titles = ["Old vase", "Vase", "Vase"]
    items = [Item(each, each, product_title=title) for each, title in enumerate(titles, start=1)]
    (row,) = rows(top_products(products(Chunk(SHOP, items)), 9, "wanted"))
    assert (row["product_title"], row["registries"]) == ("Vase", 3)


@pytest.mark.parametrize(
    ("cents", "currency", "band"),
    [
        (0, "USD", "under 25"),
        (2499, "EUR", "under 25"),
        (2500, "EUR", "25 to 50"),
        (5000, "USD", "50 to 100"),
        (9999, "USD", "50 to 100"),
        (10_000, "USD", "100 to 250"),
        (24_999, "USD", "100 to 250"),
        (25_000, "USD", "250 and over"),
        (249_999, "JPY", "under 2,500"),
        (250_000, "KRW", "2,500 to 5,000"),
        (2_500_000, "VND", "25,000 and over"),
        (2499, "KWD", "under 25"),
        (2500, "KWD", "25 to 50"),
    ],
)
def test_band_includes_its_lower_bound_and_depends_on_the_currency(cents: int, currency: str, band: str) -> None:
    chunk = Chunk([Registry(1, currency=currency)], [Item(1, 1, price_e4=100 * cents, currency=currency)])
    assert price_bands(bands(chunk))["band"].tolist() == [band]


def test_bands_are_sorted_by_price_with_their_sales() -> None:
    items = [
        Item(1, 1, 4, price_e4=3_000_000),
        Item(1, 2, 1, 2, 1_200_000),
        Item(1, 3, 2, 3, 90_000),
        Item(2, 4, 2, 3, 90_000),
    ]
    sales = [Purchase(1, 3, 3), Purchase(1, 1, 1, unit_e4=2_999_900)]
    result = price_bands(bands(Chunk(SHOP, items, sales)))
    assert [tuple(row.values())[2:] for row in rows(result)] == [
        ("under 25", 2, 4, 2, 3, 30.0, 0.5),
        ("100 to 250", 1, 1, 0, 0, 0.0, 0.0),
        ("250 and over", 1, 4, 1, 1, 299.99, 0.25),
    ]
    assert list(result.columns) == [
        "shop", "currency", "band", "items", "wanted", "bought", "sold", "value", "sell_through"
    ]  # fmt: skip


def test_no_items_give_no_rows() -> None:
    for counts in (products(Chunk(SHOP)), products(Chunk()), add([])):
        assert (rows(top_products(counts, 3)), rows(never_bought(counts, 3))) == ([], [])
    for counts in (bands(Chunk(SHOP)), bands(Chunk()), add([])):
        assert rows(price_bands(counts)) == []


def figures(item: Item, chunk: Chunk) -> dict[str, int]:
    sales = chunk.bought(item)
    sold = sum(each.quantity for each in sales)
    paid = sum(each.quantity * each.unit_e4 for each in sales)
    return {"wanted": item.wanted, "bought": min(sold, item.wanted), "sold": sold, "value_e4": paid}


def summed(keys: dict[int, tuple[Any, ...]], chunk: Chunk, count: str) -> dict[tuple[Any, ...], dict[str, int]]:
    """The items' figures, item by item, under the keys of their ids."""
    expected: dict[tuple[Any, ...], dict[str, int]] = {}
    for item in chunk.all_items:
        sums = expected.setdefault(keys[item.item_id], dict.fromkeys([count, *figures(item, chunk)], 0))
        for name, figure in {count: 1, **figures(item, chunk)}.items():
            sums[name] += figure
    return expected


@FEW_EXAMPLES
@given(chunks())
def test_products_match_a_plain_loop_for_any_chunking(chunk: Chunk) -> None:
    keys = {
        item.item_id: (
            chunk.registry(item.registry_id).shop, item.currency, item.product_id, item.variant_id,
            item.product_title, item.variant_title,
        )
        for item in chunk.all_items
    }  # fmt: skip
    counts = products(chunk)
    assert counts.to_dict("index") == summed(keys, chunk, "registries")
    assert_frame_equal(add(map(products, chunk.parts())), counts)


def band(item: Item) -> str:
    bands = {25: "under 25", 50: "25 to 50", 100: "50 to 100", 250: "100 to 250"}
    return next((name for bound, name in bands.items() if item.price_e4 < 10_000 * bound), "250 and over")


@FEW_EXAMPLES
@given(chunks())
def test_bands_match_a_plain_loop_for_any_chunking(chunk: Chunk) -> None:
    chunk = chunk.only(lambda each: chunk.registry(each).currency != "JPY")
    keys = {
        each.item_id: (chunk.registry(each.registry_id).shop, each.currency, band(each)) for each in chunk.all_items
    }
    counts = bands(chunk)
    assert counts.to_dict("index") == summed(keys, chunk, "items")
    assert_frame_equal(add(map(bands, chunk.parts())), counts)
