"""Items wanted and bought by price band. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from wishcraft.analytics.frames import as_text, total, with_sales
from wishcraft.domain.currencies import SCALE, decimals

_BOUNDS: Final = (25, 50, 100, 250)
_SMALL_UNIT: Final = 100
"""Factor of the bounds in currencies without cents: a yen is worth about a cent."""


def _labels(bounds: Sequence[int]) -> list[str]:
    between = [f"{low:,} to {high:,}" for low, high in pairwise(bounds)]
    return [f"under {bounds[0]:,}", *between, f"{bounds[-1]:,} and over"]


BANDS: Final = (*_labels(_BOUNDS), *_labels([_SMALL_UNIT * bound for bound in _BOUNDS]))
"""The bands of currencies with cents, then of those without, each from the lowest price to the highest."""
_KEY: Final = ["shop", "currency", "band"]
_COUNTS: Final = ["items", "wanted", "bought", "sold", "value_e4"]


def count_price_bands(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """Count the items wanted and bought in each price band.

    An item's band is that of its current price: under 25, from 25 to under 50, from 50 to under 100, from 100 to under
    250, 250 and over, in the currency's own unit; 100 times as much in currencies without cents (ISO 4217), such as
    the yen.

    Returns:
        Counts to `add`, indexed (shop, currency of the item, band, one of `BANDS`):
        items: The number of items, without those that were removed after a purchase.
        wanted, bought, sold, value_e4: As in `count_products`.
    """
    sales = with_sales(items, purchases).merge(registries[["registry_id", "shop"]], on="registry_id")
    without_cents = (sales["currency"].map(decimals).astype("int64") == 0).to_numpy()
    units = sales["price_e4"].to_numpy() // np.where(without_cents, SCALE * _SMALL_UNIT, SCALE)
    place = np.searchsorted(_BOUNDS, units, side="right") + without_cents * (len(BANDS) // 2)
    keyed = as_text(sales.assign(items=sales["is_listed"].astype("int64"), band=np.array(BANDS)[place]), _KEY)
    return keyed.groupby(_KEY)[_COUNTS].sum()


def price_bands(counts: pd.DataFrame) -> pd.DataFrame:
    """The sales of each price band, from the lowest to the highest of each shop and currency.

    Args:
        counts: From `count_price_bands`.

    Returns:
        shop, currency, band (an ordered categorical of `BANDS`), items, wanted, bought and sold as in the counts;
        value: the amount paid, in the currency's own unit; sell_through: bought / wanted, missing if nothing is
        wanted. Bands without any item and any sale have no row.
    """
    bands = total(counts, _KEY, _COUNTS)
    bands = bands[bands["items"] + bands["sold"] > 0]
    return (
        bands.assign(
            band=pd.Categorical(bands["band"], BANDS, ordered=True),
            value_e4=bands["value_e4"] / SCALE,
            sell_through=bands["bought"] / bands["wanted"],
        )
        .rename(columns={"value_e4": "value"})
        .sort_values(_KEY, ignore_index=True)
    )
