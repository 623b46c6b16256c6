"""Values of the first demo shop: examples with them work in the local stack."""

from typing import Final

DEMO_REF: Final = "yui-sato-anniversary-1"
DEMO_CUSTOMER: Final = 7_000_010_000_000
"""The registrant of that registry."""
DEMO_ITEM: Final = 100_000_002
"""An item of it."""
DEMO_VARIANTS: Final = (40_000_010_000_003, 40_000_010_000_004)
"""Variants that it does not have."""
