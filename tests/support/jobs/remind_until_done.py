"""Sends the demo shop's reminders as of 2026-03-14, again while some are postponed or mail is unavailable."""

import asyncio
from datetime import UTC, datetime

from wishcraft.errors import MailUnavailable
from wishcraft.resources import open_resources
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import settings
from wishcraft.store import shops


async def main() -> None:
    async with open_resources() as resources:
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        is_done = False
        while not is_done:
            try:
                counts = await remind_shop(resources, settings(), shop, now=datetime(2026, 3, 14, 15, tzinfo=UTC))
                is_done = not counts["postponed"]
            except MailUnavailable:
                continue


asyncio.run(main())
