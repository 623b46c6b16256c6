"""Analyses as pure functions on pandas frames: no I/O, the time is passed in.

`count_…` counts one chunk of whole registries, `add` sums the counts of several chunks, and another function computes
the figures from them: `funnel(add(count_visits(…) for …))`. Modules and functions have different names.

The functions are imported on first use: pandas takes a second, and jobs that need only `analytics.filters` do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wishcraft.analytics.cohort_table import cohorts, count_cohorts
    from wishcraft.analytics.demand import LEAD_WEEKS, count_lead, count_open, demand_forecast, variant_stock
    from wishcraft.analytics.effect import count_after_reminder, reminder_effect
    from wishcraft.analytics.frames import add, local_month, local_week
    from wishcraft.analytics.fulfilment import completion, fulfil, gift_value, guests
    from wishcraft.analytics.prices import BANDS, count_price_bands, price_bands
    from wishcraft.analytics.products import count_products, never_bought, top_products
    from wishcraft.analytics.visits import STEPS, count_visits, funnel

__all__ = [
    "BANDS",
    "LEAD_WEEKS",
    "STEPS",
    "add",
    "cohorts",
    "completion",
    "count_after_reminder",
    "count_cohorts",
    "count_lead",
    "count_open",
    "count_price_bands",
    "count_products",
    "count_visits",
    "demand_forecast",
    "fulfil",
    "funnel",
    "gift_value",
    "guests",
    "local_month",
    "local_week",
    "never_bought",
    "price_bands",
    "reminder_effect",
    "top_products",
    "variant_stock",
]

_MODULES: Final = ("cohort_table", "demand", "effect", "frames", "fulfilment", "prices", "products", "visits")


def __getattr__(name: str) -> Any:
    """The function or constant of `__all__` with this name."""
    if name in __all__:
        for module in map(import_module, (f"{__name__}.{each}" for each in _MODULES)):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
