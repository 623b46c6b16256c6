"""An erasure beside a person who matches a line item: one is paused before each exchange with PostgreSQL."""

from functools import partial
from itertools import count

import pytest

from tests.services.customers.test_interleavings import LEFT, make_world, match_line
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.paused_statements import pauses, run_beside
from tests.support.webhooks import apply, message
from wishcraft.resources import Resources
from wishcraft.services.privacy.webhooks import handle_customer_redactions
from wishcraft.store.shops import ShopRef

PURCHASES = "SELECT count(*) FROM purchases WHERE item_id = %s AND purchaser_id IS NULL"


@pytest.mark.parametrize("is_erasure_paused", [True, False])
async def test_nothing_is_left_of_an_erased_person_whose_line_item_is_matched_meanwhile(
    demo: Demo, resources: Resources, shop: ShopRef, *, is_erasure_paused: bool
) -> None:
    for number in count():
        world = await make_world(resources, shop, demo)
        person = {"id": world.gone, "email": None, "phone": None}
        payload = {"shop_id": 1, "shop_domain": SHOP, "customer": person, "orders_to_redact": []}

        async def erase(payload: dict[str, object] = payload) -> None:
            await apply(resources, shop, handle_customer_redactions, [message("customers/redact", payload)])

        pair = (erase, partial(match_line, world)) if is_erasure_paused else (partial(match_line, world), erase)
        with pauses():
            was_reached = await run_beside(demo, number, *pair)
        assert demo.execute(LEFT, {"ids": [world.gone]}).fetchall() == [], number
        assert demo.execute(PURCHASES, [world.item_id]).fetchone() == (1,)
        if not was_reached:
            assert number > 2
            return
