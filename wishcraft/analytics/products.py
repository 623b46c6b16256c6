"""Which products are wished for and which are bought. Pure."""

from collections.abc import Sequence
from typing import Final, Literal

import pandas as pd

from wishcraft.analytics.frames import as_text, total
from wishcraft.analytics.sales import with_sales

Measure = Literal["sold", "value", "wanted"]
_SHELF: Final = ["shop", "currency"]
"""What products are ranked within: amounts of two currencies do not compare."""
_IDS: Final = ["product_id", "variant_id"]
_TITLES: Final = ["product_title", "variant_title"]
_COUNTS: Final = ["registries", "wanted", "bought", "sold", "value_cents"]


def count_products(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """How much of each product is wished for and bought.

    Returns:
        Counts to `add`, indexed (shop, currency of the item, product_id, variant_id, product_title, variant_title):
        registries: How many wish for it; a registry has at most one item of a variant.
        wanted: The sum of the wanted quantities.
        bought: The sum over the items of the lesser of wanted and the quantity of live purchases.
        sold: The quantity of the live purchases, also what was bought beyond what is wanted.
        value_cents: The sum of quantity times unit_cents of the live purchases.
    """
    wishes = with_sales(items, purchases).merge(registries[["registry_id", "shop"]], on="registry_id")
    keyed = as_text(wishes.assign(registries=1), [*_SHELF, *_TITLES])
    return keyed.groupby([*_SHELF, *_IDS, *_TITLES])[_COUNTS].sum()


def top_products(counts: pd.DataFrame, limit: int, by: Measure = "sold") -> pd.DataFrame:
    """The products that sell best, or are wanted most: at most `limit` for each shop and currency.

    Args:
        counts: Of `count_products`.
        limit: The lowest rank.
        by: What they are ranked by, the greatest first; products that have none of it are left out. Of equals first
            the one that more registries wish for, then the one with the lower ids.

    Returns:
        shop, currency, rank (from 1), product_id, variant_id, product_title, variant_title, registries, wanted, bought
        and sold as in the counts, and value in the currency's own unit. If a variant's items have several titles, those
        that most registries have stand for all, the first in the alphabet of equals.
    """
    products = _merge_titles(counts)
    return _rank(products[products[by] > 0], limit, [by, "registries"])


def never_bought(counts: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The products that are wished for by the most registries, of those that nobody bought even one of.

    Of equals first the one that is wanted more, then the one with the lower ids. Otherwise as `top_products`.
    """
    products = _merge_titles(counts)
    return _rank(products[products["sold"] == 0], limit, ["registries", "wanted"])


def _merge_titles(counts: pd.DataFrame) -> pd.DataFrame:
    titled = total(counts, [*_SHELF, *_IDS, *_TITLES], _COUNTS)
    products = (
        titled.sort_values(["registries", *_TITLES], ascending=[False, True, True])
        .groupby([*_SHELF, *_IDS], as_index=False)
        .agg({**dict.fromkeys(_TITLES, "first"), **dict.fromkeys(_COUNTS, "sum")})
    )
    return products.assign(value=products["value_cents"] / 100).drop(columns="value_cents")


def _rank(products: pd.DataFrame, limit: int, measures: Sequence[str]) -> pd.DataFrame:
    keys = [*_SHELF, *measures, *_IDS]
    ranked = products.sort_values(keys, ascending=[key not in measures for key in keys], ignore_index=True)
    ranked.insert(len(_SHELF), "rank", ranked.groupby(_SHELF).cumcount() + 1)
    return ranked[ranked["rank"] <= limit].reset_index(drop=True)
