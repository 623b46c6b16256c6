"""Registries' answers for guests, made by the thousand: PostgreSQL writes the JSON of their items.

What an answer says is defined in `domain/answers.py`; a test holds the SQL here to it, byte for byte.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.answers import RegistryFacts, Sums, decimals
from wishcraft.store import registries


class Parts(NamedTuple):
    """What a registry's answer is composed of."""

    registry: RegistryFacts
    items: str
    """A JSON array of the items' answers in display order."""
    sums: Sums


# The keys of `a` are the item's answer. Its order of keys, and rounding halves up, are the domain's.
_ITEMS: Final = text("""
SELECT i.registry_id, '[' || string_agg(row_to_json(a)::text, ',' ORDER BY i.display_order, i.id) || ']',
    sum(i.quantity_wanted)::bigint, sum(i.quantity_purchased)::bigint,
    sum(least(i.quantity_wanted, i.quantity_purchased))::bigint,
    sum(i.price * i.quantity_wanted), sum(i.price * i.quantity_purchased)
FROM registry_items i CROSS JOIN LATERAL (
    SELECT i.id, i.product_id, i.variant_id, i.handle, i.product_title, i.variant_title, i.image,
        round(i.price, :decimals)::text AS price, round(i.compare_at_price, :decimals)::text AS compare_at_price,
        i.quantity_wanted AS wanted, i.quantity_purchased AS purchased,
        greatest(0, i.quantity_wanted - i.quantity_purchased) AS remaining,
        i.priority, i.notes, i.available,
        CASE WHEN NOT i.tracked THEN 'in_stock' WHEN i.inventory_quantity <= 0 THEN 'out'
             WHEN i.inventory_quantity <= :low_stock_threshold THEN 'low' ELSE 'in_stock' END AS stock,
        i.status
) a
WHERE i.shop_id = :shop_id AND i.registry_id = ANY(:ids) AND i.status <> 'hidden'
GROUP BY i.registry_id
""")


async def find_parts(session: AsyncSession, shop_id: int, slugs: Sequence[str]) -> list[Parts]:
    """The parts of these registries' answers in two queries, whatever the number; slugs that name nothing are left out.

    Call it in a snapshot, or a version may not belong to its items.
    """
    found = await registries.find_registries(session, shop_id, slugs)
    if not found:
        return []
    of_shop = found[0]
    parameters = {
        "shop_id": shop_id,
        "ids": [registry.id for registry in found],
        "decimals": decimals(of_shop.currency),
        "low_stock_threshold": of_shop.low_stock_threshold,
    }
    rows = (await session.execute(_ITEMS, parameters)).all()
    items = {registry_id: (answers, Sums._make(sums)) for registry_id, answers, *sums in rows}
    return [Parts(registry, *items.get(registry.id, ("[]", Sums()))) for registry in found]
