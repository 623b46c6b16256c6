"""An erasure beside what writes about the same people: one is paused before each exchange with PostgreSQL."""

from functools import partial
from itertools import count
from typing import Any

import pytest

from tests.services.customers.test_interleavings import LEFT, World, make_world, match_line
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.paused_statements import pauses, run_beside
from tests.support.webhooks import apply, message
from wishcraft.errors import RegistriesChanged
from wishcraft.resources import Resources
from wishcraft.services.privacy.webhooks import handle_customer_redactions
from wishcraft.store.shops import ShopRef

PURCHASES = "SELECT count(*) FROM purchases WHERE item_id = %s AND order_id = %s AND purchaser_id IS NULL"


async def erase(world: World) -> None:
    """Erase the customer who is gone, as often as its tries need."""
    person = {"id": world.gone, "email": None, "phone": None}
    payload: dict[str, Any] = {"shop_id": 1, "shop_domain": SHOP, "customer": person, "orders_to_redact": []}
    while True:
        try:
            await apply(world.resources, world.shop, handle_customer_redactions, [message("customers/redact", payload)])
        except RegistriesChanged:
            continue
        return


@pytest.mark.parametrize("is_erasure_paused", [True, False])
async def test_nothing_is_left_of_an_erased_person_whose_line_item_is_matched_meanwhile(
    demo: Demo, resources: Resources, shop: ShopRef, *, is_erasure_paused: bool
) -> None:
    for number in count():
        world = await make_world(resources, shop, demo)
        pair = (partial(erase, world), partial(match_line, world))
        with pauses():
            was_reached = await run_beside(demo, number, *(pair if is_erasure_paused else pair[::-1]))
        assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == [], number
        assert demo.execute(PURCHASES, [world.item_id, world.order_id]).fetchone() == (1,)
        if not was_reached:
            assert number > 2
            return


@pytest.mark.parametrize("is_erasure_paused", [True, False])
async def test_erasure_beside_a_merge_of_a_customer_without_a_registry_is_no_deadlock(
    demo: Demo, resources: Resources, shop: ShopRef, *, is_erasure_paused: bool
) -> None:
    """With a registry, one waits for the other to release it before it changes anything."""
    for number in count():
        world = await make_world(resources, shop, demo)
        demo.execute("UPDATE registries SET customer_id = NULL WHERE customer_id = %s", [world.gone])
        pair = (partial(erase, world), partial(world.merge, world.gone, world.kept))
        with pauses():
            was_reached = await run_beside(demo, number, *(pair if is_erasure_paused else pair[::-1]))
        assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == [], number
        if not was_reached:
            assert number > 2
            return
