"""Shopify's global ids: strings in the API, numbers everywhere else."""

from typing import Final

from wishcraft.domain.text_forms import id_fault

_MAX_DIGITS: Final = 19
"""Of a 64-bit integer."""


def to_global(kind: str, number: int) -> str:
    """`gid://shopify/ProductVariant/1` for `("ProductVariant", 1)`.

    https://shopify.dev/docs/api/usage/gids
    """
    return f"gid://shopify/{kind}/{number}"


def from_global(kind: str, global_id: str) -> int:
    """The number in a global id; its parameters (`?inventory_item_id=7`) are ignored.

    Raises:
        ValueError: `global_id` is not the global id of a `kind`.
    """
    prefix, number = to_global(kind, 0)[:-1], global_id.removeprefix(f"gid://shopify/{kind}/").partition("?")[0]
    if not (global_id.startswith(prefix) and number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS):
        raise ValueError(id_fault(kind))
    return int(number)
