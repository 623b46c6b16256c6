"""Warms or syncs the demo shop, and kills itself with SIGKILL at the given moment.

Every statement or round trip of several, every commit and every Redis call is two moments, before and after. Arguments:
`warm` or `sync`, and the number of the moment. If the job ends, it prints the number of its moments.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from psycopg import AsyncCursor
from sqlalchemy import event

from wishcraft.cache.client import Server
from wishcraft.resources import open_resources
from wishcraft.services.inventory import sync
from wishcraft.services.registries.warm import warm_shop
from wishcraft.store import shops
from wishcraft.store.statements import Driver

job, last = sys.argv[1], int(sys.argv[2])
sync.REGISTRIES_PER_WRITE = 1  # type: ignore[misc]
moments = 0


def moment(*_arguments: object) -> None:
    global moments  # noqa: PLW0603  the one counter of this program
    moments += 1
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)


def with_moments(run: Any) -> Any:
    """The method with a moment before and after."""

    async def run_between(*arguments: Any, **options: Any) -> Any:
        moment()
        result = await run(*arguments, **options)
        moment()
        return result

    return run_between


Server.run = with_moments(Server.run)  # type: ignore[method-assign]
AsyncCursor.execute = with_moments(AsyncCursor.execute)  # type: ignore[method-assign]  # SQLAlchemy's
Driver.run = with_moments(Driver.run)  # type: ignore[method-assign]
Driver.commit = with_moments(Driver.commit)  # type: ignore[method-assign]


async def main() -> None:
    async with open_resources(redis_timeout=5) as resources:
        event.listen(resources.db.engine.sync_engine, "checkin", moment)
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        if job == "warm":
            await warm_shop(resources, shop, batch_size=1)
        else:
            await sync.sync_shop(resources, shop)


asyncio.run(main())
print(moments)  # noqa: T201  read by the test
