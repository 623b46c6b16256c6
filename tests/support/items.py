"""Items of a registry, through the API and as they are stored."""

from typing import Any

from api.schemas.responses import Item, OwnRegistryAnswer
from deployments.sandbox.shopify.inventory import Variant
from tests.support.aliases import Demo
from tests.support.api import Shopper

PATH = "/api/registries"


async def add(
    emma: Shopper, slug: str, variant: Variant, body: dict[str, object] | None = None, **headers: str
) -> Item:
    """Add the variant; returns the item as guests see it."""
    new_item = {"variant_id": variant.variant_id, **(body or {})}
    answer = await emma.send("POST", f"{PATH}/{slug}/items", new_item, **headers)
    assert answer.status_code == 201, answer.text
    shown = OwnRegistryAnswer.model_validate_json(answer.content).items
    return next(item for item in shown if item.variant_id == variant.variant_id)


async def items(emma: Shopper, slug: str) -> list[Item]:
    """The registry's items as guests see them."""
    return OwnRegistryAnswer.model_validate_json((await emma.read(slug)).content).items


def rows(demo: Demo, slug: str) -> list[tuple[Any, ...]]:
    """The stored items, hidden ones included, and the registry's version."""
    return demo.execute(
        """SELECT r.version, i.* FROM registries r LEFT JOIN registry_items i ON i.registry_id = r.id
           WHERE r.slug = %s ORDER BY i.id""",
        [slug],
    ).fetchall()


def buy(demo: Demo, item_id: int, quantity: int = 1) -> None:
    """Let a guest buy the item."""
    demo.execute(
        """INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity,
                                  unit_price, status)
           SELECT shop_id, registry_id, id, 1, -id, '#1', %s, price, 'confirmed' FROM registry_items WHERE id = %s""",
        [quantity, item_id],
    )
    demo.execute("UPDATE registry_items SET quantity_purchased = %s WHERE id = %s", [quantity, item_id])
