"""Syncs the demo shop in many small writes, so that it can be killed between them.

With the argument `die-before-commit` it kills itself with SIGKILL once the first write has invalidated the cache.
"""

import asyncio
import os
import signal
import sys

from wishcraft.resources import open_resources
from wishcraft.services.inventory import sync
from wishcraft.services.registries import write
from wishcraft.store import shops

sync.REGISTRIES_PER_WRITE = 1  # type: ignore[misc]


async def die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if sys.argv[1:] == ["die-before-commit"]:
    write._commit = die  # type: ignore[assignment]


async def main() -> None:
    async with open_resources(redis_timeout=5) as resources:
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        await sync.sync_shop(resources, shop)


asyncio.run(main())
