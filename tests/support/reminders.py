"""A day of reminders, and what is stored of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from wishcraft.resources import Resources
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

NOW = datetime(2026, 3, 14, 15, tzinfo=UTC)
EMMA, HUGO = "emma@example.com", "hugo@example.com"
TODAY = NOW.date()  # also in the shop's time zone, New York
WEEK, DAY = TODAY + timedelta(7), TODAY + timedelta(1)


def change(demo: Demo, registry: int, **columns: object) -> None:
    """Change columns of the registry; all its people have confirmed their addresses."""
    for name, value in columns.items():
        demo.execute(f"UPDATE registries SET {name} = %s WHERE id = %s", [value, registry])  # noqa: S608  ours
    confirm_everyone(demo)


def rows(demo: Demo) -> list[tuple[Any, ...]]:
    """Kind, date of the event, recipient, state and attempts of each stored reminder."""
    return demo.execute(
        "SELECT kind, event_date, recipient, state, attempts FROM reminders ORDER BY event_date, kind, recipient"
    ).fetchall()


async def fresh(resources: Resources, shop: ShopRef) -> ShopRef:
    """The shop with its current settings."""
    async with resources.db.repeatable_read() as session:
        return (await shops.find_active(session, [shop.domain]))[0]
