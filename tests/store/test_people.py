from datetime import UTC, datetime

import pytest

from tests.support.aliases import Demo
from wishcraft.domain.people import make_person
from wishcraft.resources import Resources
from wishcraft.store import people
from wishcraft.store.shops import ShopRef


@pytest.mark.parametrize(
    "stored", ["ΜΑΡΙΑΣ@example.com", "İPEK@example.com", "i\u0307pek@example.com", "Zoe\u0308@x.example"]
)
async def test_person_is_found_by_an_address_however_capitals_become_small(
    resources: Resources, shop: ShopRef, demo: Demo, stored: str
) -> None:
    demo.execute(
        """UPDATE purchases SET purchaser_email = %s, purchaser_id = NULL, created_at = '2026-01-01'
           WHERE id = (SELECT min(id) FROM purchases WHERE shop_id = %s)""",
        [stored, shop.id],
    )
    person = make_person(shop.id, (), (), stored, None)
    async with resources.db.transaction() as session:
        known = await people.collect(session, shop.id, person, datetime.now(UTC))
    assert [each["purchaser_email"] for each in known["purchases"]] == [stored]
