"""The look-up of products for storefronts."""

from collections.abc import Sequence
from typing import Any

from wishcraft.cache.registries import CacheState
from wishcraft.domain.callers import Caller
from wishcraft.domain.variants import variant_payload
from wishcraft.errors import NotAllowed
from wishcraft.resources import Resources
from wishcraft.services.variants.reader import VariantReader
from wishcraft.store import shops


async def look_up(
    resources: Resources, variants: VariantReader, caller: Caller, variant_ids: Sequence[int]
) -> tuple[dict[str, Any], CacheState]:
    """The payload of these distinct variants, in their order, and how they were found.

    A variant that the shop does not sell, or whose values in Shopify cannot be stored, is unknown.

    Raises:
        NotAllowed: The caller is a guest.
        Exception: As `VariantReader.read`.
    """
    if caller.is_from_storefront and caller.customer_id is None:
        raise NotAllowed("Products are looked up for customers and servers: log in, or send an API key.")
    async with resources.db.autocommit() as session:
        shop = await shops.find_one(session, caller.shop_id)
    facts, state = await variants.read(caller, variant_ids)
    sold = {number: reading for number in variant_ids if number in facts and (reading := facts[number].sold)}
    threshold = shop.settings.low_stock_threshold
    return {
        "currency": shop.currency,
        "variants": [
            variant_payload(reading, facts[number].image, shop.currency, threshold) for number, reading in sold.items()
        ],
        "unknown_ids": [number for number in variant_ids if number not in sold],
    }, state
