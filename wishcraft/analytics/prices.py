"""At which prices things are wished for and bought. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from wishcraft.analytics.frames import as_text, total
from wishcraft.analytics.sales import with_sales
from wishcraft.domain.registry_payload import WITHOUT_CENTS

_BOUNDS: Final = (25, 50, 100, 250)
_SMALL_UNIT: Final = 100
"""A yen is worth about a cent: in currencies without cents the bounds are so many times as high."""


def _labels(bounds: Sequence[int]) -> list[str]:
    between = [f"{low:,} to {high:,}" for low, high in pairwise(bounds)]
    return [f"under {bounds[0]:,}", *between, f"{bounds[-1]:,} and over"]


BANDS: Final = (*_labels(_BOUNDS), *_labels([_SMALL_UNIT * bound for bound in _BOUNDS]))
"""Those of currencies with cents, then those of currencies without, each from the lowest price to the highest."""
_KEY: Final = ["shop", "currency", "band"]
_COUNTS: Final = ["items", "wanted", "bought", "sold", "value_cents"]


def count_price_bands(registries: pd.DataFrame, items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """How much is wished for and bought at low prices and at high ones.

    An item's band is that of its present price: under 25, from 25 to under 50, from 50 to under 100, from 100 to under
    250, 250 and over, in the currency's own unit; 100 times as much in currencies without cents (ISO 4217), as the yen.

    Returns:
        Counts to `add`, indexed (shop, currency of the item, band, one of `BANDS`):
        items: How many there are.
        wanted, bought, sold, value_cents: As of `count_products`.
    """
    wishes = with_sales(items, purchases).merge(registries[["registry_id", "shop"]], on="registry_id")
    small = wishes["currency"].isin(WITHOUT_CENTS).to_numpy()
    units = wishes["price_cents"].to_numpy() // np.where(small, 100 * _SMALL_UNIT, 100)
    place = np.searchsorted(_BOUNDS, units, side="right") + small * (len(BANDS) // 2)
    keyed = as_text(wishes.assign(items=1, band=np.array(BANDS)[place]), _KEY)
    return keyed.groupby(_KEY)[_COUNTS].sum()


def price_bands(counts: pd.DataFrame) -> pd.DataFrame:
    """How well each band of prices sells, from the lowest to the highest of each shop and currency.

    Args:
        counts: Of `count_price_bands`.

    Returns:
        shop, currency, band (an ordered categorical of `BANDS`), items, wanted, bought and sold as in the counts;
        value: what was paid, in the currency's own unit; sell_through: bought / wanted. Bands without items have no
        row.
    """
    found = total(counts, _KEY, _COUNTS)
    return (
        found.assign(
            band=pd.Categorical(found["band"], BANDS, ordered=True),
            value_cents=found["value_cents"] / 100,
            sell_through=found["bought"] / found["wanted"],
        )
        .rename(columns={"value_cents": "value"})
        .sort_values(_KEY, ignore_index=True)
    )
