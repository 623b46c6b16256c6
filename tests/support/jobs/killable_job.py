"""Warms or syncs the demo shop, and kills itself with SIGKILL at the given moment.

Every statement, commit and Redis call is two moments, before and after. Arguments: `warm` or `sync`, and the number of
the moment. If the job ends, it prints the number of its moments.
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
from wishcraft.services.registries import warm
from wishcraft.store import shops

job, last = sys.argv[1], int(sys.argv[2])
warm.BATCH = 1  # type: ignore[misc]
sync.REGISTRIES_PER_WRITE = 1  # type: ignore[misc]
moments = 0


def moment(*_arguments: object) -> None:
    global moments  # noqa: PLW0603  the one counter of this program
    moments += 1
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)


run_script = Server.run


async def run(*arguments: Any) -> list[bytes]:
    moment()
    replies = await run_script(*arguments)
    moment()
    return replies


Server.run = run  # type: ignore[method-assign, assignment]

send_statement = AsyncCursor.execute


async def execute(cursor: Any, *arguments: Any, **options: Any) -> Any:
    """Execute a statement of SQLAlchemy, or of the driver's own connection, with a moment before and after."""
    moment()
    executed = await send_statement(cursor, *arguments, **options)
    moment()
    return executed


AsyncCursor.execute = execute  # type: ignore[method-assign, assignment]


async def main() -> None:
    async with open_resources(redis_timeout=5) as resources:
        event.listen(resources.db.engine.sync_engine, "checkin", moment)
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        await (warm.warm_shop if job == "warm" else sync.sync_shop)(resources, shop)


asyncio.run(main())
print(moments)  # noqa: T201  read by the test
