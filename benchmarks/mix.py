"""`python -m benchmarks.mix`: load generator with writes; each write raises the version of a registry.

Writes use `registry_write`, so readers see the same locks, invalidations and refills as in production.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from sqlalchemy import text

from benchmarks import load
from benchmarks.load import Plan, Result
from wishcraft.resources import Resources, open_resources
from wishcraft.services.registries.write import registry_write
from wishcraft.store.audit_log import Actor

SHARE_OF_WRITES: Final = 0.01


def steps(registries_count: int, count: int) -> list[int]:
    """`count` reads and writes; the popularity of registries follows Zipf's law: 1, 1/2, 1/3, …"""
    rng = random.Random(2026)  # noqa: S311  the same mix for every server
    numbers = range(registries_count)
    popularity = list(accumulate(1 / (number + 1) for number in numbers))
    drawn = (rng.choices(numbers, cum_weights=popularity)[0] for _ in range(count))
    return [-1 - number if rng.random() < SHARE_OF_WRITES else number for number in drawn]


_BUMP: Final = text("UPDATE registries SET version = version + 1, updated_at = now() WHERE id = :registry_id")


async def run(plan: Plan) -> Result:
    """Send the plan's reads to the server and perform its writes on the stores."""
    async with open_resources(redis_timeout=5) as resources:

        async def write(number: int) -> None:
            await _write(resources, plan.writes[number], is_cached=plan.is_cached)

        return await load.run(plan, write)


async def _write(resources: Resources, registry: Sequence[int], *, is_cached: bool) -> None:
    shop_id, registry_id = registry
    if is_cached:
        async with registry_write(
            resources, Actor(shop_id, "benchmark"), [registry_id], on_cache_down="refuse"
        ) as write:
            write.changed(registry_id)
        return
    async with resources.db.transaction() as session:
        await session.execute(_BUMP, {"registry_id": registry_id})


if __name__ == "__main__":
    load.main(run)
