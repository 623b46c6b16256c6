"""A webhook wakes the sync that waits for a bulk operation; without it, or without Redis, the sync asks by itself."""

import asyncio
import threading
from typing import Any

import pytest

from deployments.sandbox.shopify.bulk import BulkOperation, BulkQuery
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.erased_person import receive
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.support.webhooks import message
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.inventory.finished_bulk import handle_finished_bulk
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.shopify.variants import bulk_read_variants
from wishcraft.store.shops import ShopRef


async def read_all(resources: Resources) -> int:
    return len([reading async for reading in bulk_read_variants(resources.shopify, SHOP)])


async def test_webhook_wakes_the_sync_that_waits(
    demo: Demo, resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.execute("TRUNCATE webhook_events")
    released, run, waits = threading.Event(), BulkQuery.run, list[str]()

    async def run_once_released(self: BulkQuery, operation: BulkOperation, root_value: dict[str, Any]) -> None:
        await wait_until(released.is_set)
        await run(self, operation, root_value)

    async def record_wait(operation_id: str, _seconds: float) -> None:
        waits.append(operation_id)
        await resources.bulk_signals.wait(operation_id, 50 * PATIENCE_SECONDS)

    monkeypatch.setattr(BulkQuery, "run", run_once_released)
    monkeypatch.setattr(resources.shopify, "wait_for_bulk", record_wait)
    reading = asyncio.create_task(read_all(resources))
    await wait_until(lambda: waits)
    released.set()
    [operation] = simulator.shops[SHOP].bulk_operations
    await wait_until(lambda: operation.status == "COMPLETED")
    assert not reading.done()
    payload = {"admin_graphql_api_id": waits[0], "status": "completed", "type": "query", "error_code": None}
    await process(resources, HANDLERS, SHOP, [receive(demo, "bulk_operations/finish", payload)])
    assert await asyncio.wait_for(reading, PATIENCE_SECONDS) > 100
    assert len(waits) == 1


async def test_signal_that_came_before_the_wait_is_not_lost_and_wakes_its_own_alone(resources: Resources) -> None:
    await resources.bulk_signals.send("gid://shopify/BulkOperation/1")
    waiting = asyncio.create_task(resources.bulk_signals.wait("gid://shopify/BulkOperation/2", 1000))
    await asyncio.wait_for(resources.bulk_signals.wait("gid://shopify/BulkOperation/1", 1000), PATIENCE_SECONDS)
    assert not waiting.done()
    await resources.bulk_signals.send("gid://shopify/BulkOperation/2")
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def test_wait_ends_when_its_time_is_up(resources: Resources) -> None:
    await asyncio.wait_for(resources.bulk_signals.wait("gid://shopify/BulkOperation/3", 0.05), PATIENCE_SECONDS)


async def test_without_redis_the_wait_ends_when_its_time_is_up_and_not_before(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = list[object]()

    async def refuse(*arguments: object) -> None:
        refused.append(arguments)
        raise ConnectionError

    monkeypatch.setattr(resources.redis.redis, "blpop", refuse)
    waiting = asyncio.create_task(resources.bulk_signals.wait("gid://shopify/BulkOperation/4", 1000))
    await wait_until(lambda: refused)
    assert not waiting.done()  # the sync would ask Shopify without a pause
    waiting.cancel()
    await asyncio.wait_for(resources.bulk_signals.wait("gid://shopify/BulkOperation/4", 0.05), PATIENCE_SECONDS)


@pytest.mark.parametrize("value", [None, 1, "", "gid://shopify/Order/1", "gid://shopify/BulkOperation/x"])
async def test_payload_without_an_operation_is_refused(resources: Resources, shop: ShopRef, value: object) -> None:
    with pytest.raises(PayloadInvalid):
        await handle_finished_bulk(
            resources, shop, [message("bulk_operations/finish", {"admin_graphql_api_id": value})]
        )
