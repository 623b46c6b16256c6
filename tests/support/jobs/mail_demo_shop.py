"""Sends the reminders, or with `invite` the invitations, of the demo shop, one at a time, as of 2026-03-14."""

import asyncio
import sys
from datetime import UTC, datetime

from wishcraft.resources import open_resources
from wishcraft.services.invitations import send as invitations
from wishcraft.services.mail import send as mail_send
from wishcraft.services.reminders import send as reminders
from wishcraft.settings import settings
from wishcraft.store import shops

# So that the second mail is still to be claimed.
mail_send.SENDS_AT_ONCE = 1  # type: ignore[misc]


async def main() -> None:
    work = invitations.invite_shop if sys.argv[1:] == ["invite"] else reminders.remind_shop
    async with open_resources() as resources:
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        await work(resources, settings(), shop, now=datetime(2026, 3, 14, 15, tzinfo=UTC))


asyncio.run(main())
