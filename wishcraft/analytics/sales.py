"""Items beside what was bought of them, which several analyses begin with. Pure."""

import pandas as pd


def with_sales(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """The items, in their order, with three columns more.

    sold: The quantity of its live purchases.
    bought: Of that what is wanted: the lesser of sold and wanted.
    value_cents: The sum of quantity times unit_cents of its live purchases.
    """
    paid = pd.DataFrame(
        {
            "item_id": purchases["item_id"],
            "sold": purchases["quantity"],
            "value_cents": purchases["quantity"] * purchases["unit_cents"],
        }
    )
    sales = paid.groupby("item_id").sum().reindex(items["item_id"], fill_value=0).set_axis(items.index)
    return items.assign(
        sold=sales["sold"], bought=sales["sold"].clip(upper=items["wanted"]), value_cents=sales["value_cents"]
    )
