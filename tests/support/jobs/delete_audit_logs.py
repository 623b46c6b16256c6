"""Deletes old audit logs in batches of 10: before each it prints how many are deleted, and waits for a line."""

import asyncio
import sys
from datetime import UTC, datetime

from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.resources import open_resources
from wishcraft.services.cleanup.expired import clean_table


async def print_and_wait(done: int, _total: int) -> None:
    print(done, flush=True)  # noqa: T201  read by the test
    await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    async with open_resources() as resources:
        bounds = Bounds(10, datetime.max.replace(tzinfo=UTC))
        await clean_table(resources, DataKind.AUDIT, datetime.now(UTC), bounds, checkpoint=print_and_wait)


asyncio.run(main())
