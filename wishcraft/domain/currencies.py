"""Money: how many decimals a currency has, and the amounts that can be stored. Pure."""

from decimal import Decimal
from typing import Final

MAX_AMOUNT: Final = Decimal("9999999999.99")
"""The greatest amount that a column of money holds."""
