"""Reminders: all tests send to the mail server; a registry whose reminder is due."""

from datetime import timedelta

import pytest

from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from tests.support.reminders import EMMA, HUGO, TODAY, WEEK
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


@pytest.fixture
def registry(demo: Demo, shop: ShopRef) -> int:
    """The only registry of the shop with a due reminder: its event is in a week, and it has one registrant."""
    demo.execute("UPDATE registries SET event_date = %s", [TODAY + timedelta(60)])
    found = demo.execute(
        """UPDATE registries SET event_date = %s, status = 'active', customer_email = 'Emma@Example.com ',
               co_registrants = '[]'
           WHERE id = (SELECT min(id) FROM registries WHERE shop_id = %s) RETURNING id""",
        [WEEK, shop.id],
    ).fetchone()
    assert found
    confirm_everyone(demo)
    return int(found[0])


@pytest.fixture
def two_to_remind(demo: Demo, shop: ShopRef) -> None:
    """Two due reminders: Emma's and Hugo's, a week before their event."""
    demo.execute("UPDATE registries SET event_date = %s", [TODAY + timedelta(60)])
    demo.execute(
        """UPDATE registries SET event_date = %s, status = 'active', customer_email = %s,
               co_registrants = jsonb_build_array(jsonb_build_object('first_name', 'Hugo', 'email', %s::text))
           WHERE id = (SELECT min(id) FROM registries WHERE shop_id = %s)""",
        [WEEK, EMMA, HUGO, shop.id],
    )
    confirm_everyone(demo)
