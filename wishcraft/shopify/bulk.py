"""Bulk operations: Shopify runs a query over everything, the result is read line by line. What it asks is the caller's.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from wishcraft.errors import BulkOperationFailed, ShopifyQueryInvalid, ShopifyThrottled, ShopifyUnavailable
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import READ_BULK_OPERATION, START_BULK_QUERY
from wishcraft.shopify.responses import read_object
from wishcraft.shopify.retries import MOST_RETRIES

START_PATIENCE: Final = 120.0
"""Seconds to wait for one of the shop's five places."""
FINISH_PATIENCE: Final = 3600.0
"""Seconds to wait for the result; Shopify itself gives up after ten days, a job has to sooner."""
_FIRST_POLL: Final = 1.0
_SLOWEST_POLL: Final = 15.0
_GROWTH: Final = 1.5
_NO_PLACE: Final = frozenset({"LIMIT_REACHED", "OPERATION_IN_PROGRESS"})
_ENDED_BADLY: Final = frozenset({"FAILED", "CANCELED", "EXPIRED"})


@dataclass(frozen=True, slots=True)
class _Result:
    """A completed operation; without objects there is no URL."""

    url: str | None
    roots: int


async def bulk_objects(client: ShopifyClient, shop: str, query: str) -> AsyncGenerator[dict[str, Any], None]:
    """Every object that `query` selects, in the order of the file; children carry `__parentId`.

    A download that breaks off goes on where it stopped. Only an iteration that ends without an error has seen all.

    Raises:
        BulkOperationFailed: Shopify ended the operation without a result.
        ShopifyThrottled: Five operations kept running past `START_PATIENCE`.
        ShopifyUnavailable: No result within `FINISH_PATIENCE`, or none that could be downloaded whole.
        ShopifyQueryInvalid: Shopify does not accept `query`.
    """
    result = await _finish(client, shop, await _start(client, shop, query))
    seen = 0
    for attempt in range(MOST_RETRIES + 1):
        try:
            async with aclosing(_download(client, result, skip=seen)) as records:
                async for record in records:
                    seen += 1
                    yield record
        except ShopifyUnavailable:
            if attempt == MOST_RETRIES:
                raise
            await client.retry.pause(attempt)
        else:
            return


async def _start(client: ShopifyClient, shop: str, query: str) -> str:
    waited, pause = 0.0, _FIRST_POLL
    while True:
        payload = (await client.query(shop, START_BULK_QUERY, {"query": query}))["bulkOperationRunQuery"] or {}
        errors = payload.get("userErrors") or []
        if not errors and payload.get("bulkOperation"):
            return str(payload["bulkOperation"]["id"])
        if not _NO_PLACE & {error["code"] for error in errors}:
            raise ShopifyQueryInvalid("; ".join(error["message"] for error in errors) or "no bulk operation was made")
        if waited + pause > START_PATIENCE:
            raise ShopifyThrottled(f"{shop}: no bulk operation could be started for {waited:.0f} s")
        await client.retry.clock.sleep(pause)
        waited, pause = waited + pause, min(_SLOWEST_POLL, pause * _GROWTH)


async def _finish(client: ShopifyClient, shop: str, operation_id: str) -> _Result:
    waited, pause = 0.0, _FIRST_POLL
    while waited <= FINISH_PATIENCE:
        operation = (await client.query(shop, READ_BULK_OPERATION, {"id": operation_id}))["bulkOperation"]
        status = operation["status"] if operation else "EXPIRED"
        if status == "COMPLETED":
            return _Result(operation["url"], int(operation["rootObjectCount"]))
        if status in _ENDED_BADLY:
            reason = (operation or {}).get("errorCode") or "no reason given"
            raise BulkOperationFailed(f"{shop}: a bulk operation ended {status} ({reason})")
        await client.retry.clock.sleep(pause)
        waited, pause = waited + pause, min(_SLOWEST_POLL, pause * _GROWTH)
    raise ShopifyUnavailable(f"{shop}: a bulk operation did not finish within {FINISH_PATIENCE:.0f} s")


async def _download(client: ShopifyClient, result: _Result, skip: int) -> AsyncGenerator[dict[str, Any], None]:
    """One attempt at the file, from its line `skip` on; a file with fewer root objects than announced is not whole."""
    if result.url is None:
        return
    number = roots = 0
    async with aclosing(client.stream_lines(result.url)) as lines:
        async for line in lines:
            number, roots = number + 1, roots + (b'"__parentId"' not in line)
            if number > skip:
                yield read_object(line)
    if roots < result.roots:
        raise ShopifyUnavailable(f"a bulk result of {result.roots} objects ended after {roots}")
