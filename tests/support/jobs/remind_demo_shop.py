"""Sends the reminders of the demo shop, one at a time, as of 2026-03-14."""

import asyncio
from datetime import UTC, datetime

from wishcraft.resources import open_resources
from wishcraft.services.reminders import send
from wishcraft.settings import settings
from wishcraft.store import shops

send.SENDS_AT_ONCE = 1  # type: ignore[misc]  # so that the second reminder is still to be claimed


async def main() -> None:
    async with open_resources() as resources:
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        await send.remind_shop(resources, settings(), shop, now=datetime(2026, 3, 14, 15, tzinfo=UTC))


asyncio.run(main())
