"""Products wanted and bought. Pure."""

from collections.abc import Sequence
from typing import Final, Literal

import pandas as pd

from wishcraft.analytics.frames import as_text, total, with_sales
from wishcraft.domain.currencies import SCALE

Measure = Literal["sold", "value", "wanted"]
_RANKED_WITHIN: Final = ["shop", "currency"]
"""Columns within which products are ranked: amounts of two currencies cannot be compared."""
_IDS: Final = ["product_id", "variant_id"]
_TITLES: Final = ["product_title", "variant_title"]
_COUNTS: Final = ["registries", "wanted", "bought", "sold", "value_e4"]


def count_products(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """Count the units wanted and bought of each product.

    Returns:
        Counts to `add`, indexed (shop, currency of the item, product_id, variant_id, product_title, variant_title):
        registries: How many have it on their list; a registry has at most one item of a variant.
        wanted: The sum of the quantities wanted there.
        bought: The sum over these items of the lesser of wanted and the quantity of live purchases.
        sold: The quantity of the live purchases, including units beyond wanted, and of items removed after a purchase.
        value_e4: The sum of quantity times unit_e4 of the live purchases.
    """
    sales = with_sales(items, purchases).merge(registries[["registry_id", "shop"]], on="registry_id")
    keyed = as_text(sales.assign(registries=sales["is_listed"].astype("int64")), [*_RANKED_WITHIN, *_TITLES])
    return keyed.groupby([*_RANKED_WITHIN, *_IDS, *_TITLES])[_COUNTS].sum()


def top_products(counts: pd.DataFrame, limit: int, by: Measure = "sold") -> pd.DataFrame:
    """The products with the best sales, or those wanted most: at most `limit` for each shop and currency.

    Args:
        counts: From `count_products`.
        limit: The last rank.
        by: The measure to rank by, the greatest first; products with 0 are left out. Equals are ranked by registries,
            the most first, then by ids.

    Returns:
        shop, currency, rank (from 1), product_id, variant_id, product_title, variant_title, registries, wanted, bought
        and sold as in the counts, and value in the currency's own unit. If a variant's items have several titles, it
        has those of the most registries, the alphabetically first of equals.
    """
    products = _merge_titles(counts)
    return _rank(products[products[by] > 0], limit, [by, "registries"])


def never_bought(counts: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The products on a list and without a purchase, ranked by the number of registries that have them.

    Equals are ranked by wanted, the most first, then by ids. Otherwise as `top_products`.
    """
    products = _merge_titles(counts)
    return _rank(products[(products["sold"] == 0) & (products["registries"] > 0)], limit, ["registries", "wanted"])


def _merge_titles(counts: pd.DataFrame) -> pd.DataFrame:
    titled = total(counts, [*_RANKED_WITHIN, *_IDS, *_TITLES], _COUNTS)
    products = (
        titled.sort_values(["registries", *_TITLES], ascending=[False, True, True])
        .groupby([*_RANKED_WITHIN, *_IDS], as_index=False)
        .agg({**dict.fromkeys(_TITLES, "first"), **dict.fromkeys(_COUNTS, "sum")})
    )
    return products.assign(value=products["value_e4"] / SCALE).drop(columns="value_e4")


def _rank(products: pd.DataFrame, limit: int, measures: Sequence[str]) -> pd.DataFrame:
    keys = [*_RANKED_WITHIN, *measures, *_IDS]
    ranked = products.sort_values(keys, ascending=[key not in measures for key in keys], ignore_index=True)
    ranked.insert(len(_RANKED_WITHIN), "rank", ranked.groupby(_RANKED_WITHIN).cumcount() + 1)
    return ranked[ranked["rank"] <= limit].reset_index(drop=True)
