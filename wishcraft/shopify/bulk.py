"""Bulk operations: Shopify runs the caller's query over all objects, and the result is read line by line.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from wishcraft.errors import (
    BulkOperationFailed,
    ShopifyQueryInvalid,
    ShopifyRefused,
    ShopifyThrottled,
    ShopifyUnavailable,
)
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import READ_BULK_OPERATION, START_BULK_QUERY
from wishcraft.shopify.responses import read_object
from wishcraft.shopify.retries import MAX_RETRIES

START_TIMEOUT_SECONDS: Final = 120.0
"""How long to wait for one of the five bulk operations that a shop may run at once."""
FINISH_TIMEOUT_SECONDS: Final = 3600.0
"""How long to wait for the result. Shopify's own limit of ten days is too long for a job."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 15.0
_PAUSE_FACTOR: Final = 1.5
_LIMIT_REACHED: Final = frozenset({"LIMIT_REACHED", "OPERATION_IN_PROGRESS"})
_FAILED: Final = frozenset({"FAILED", "CANCELED", "EXPIRED"})


@dataclass(frozen=True, slots=True)
class _Result:
    """A completed operation. `url` is None only if it selected no objects."""

    url: str | None
    root_objects: int


async def bulk_objects(client: ShopifyClient, shop: str, query: str) -> AsyncGenerator[dict[str, Any], None]:
    """Every object that `query` selects, in the order of the file; children carry `__parentId`.

    An interrupted download continues where it stopped. Only an iteration that ends without an error is complete.

    Raises:
        BulkOperationFailed: Shopify ended the operation without a result, or its file cannot be downloaded.
        ShopifyThrottled: The shop had five operations running for `START_TIMEOUT_SECONDS`.
        ShopifyUnavailable: No result within `FINISH_TIMEOUT_SECONDS`, or no complete download.
        ShopifyQueryInvalid: Shopify does not accept `query`, or the app may not run bulk operations.
        ShopifyRefused: As `ShopifyClient.query` does.
    """
    result = await _wait_for_result(client, shop, await _start(client, shop, query))
    read = 0
    for attempt in range(MAX_RETRIES + 1):
        try:
            async with aclosing(_download(client, result, skip=read)) as records:
                async for record in records:
                    read += 1
                    yield record
        except ShopifyUnavailable:
            if attempt == MAX_RETRIES:
                raise
            await client.retry.pause(attempt, partial(client.record_wait, shop))
        except ShopifyRefused as error:  # of the storage, not of the shop: the file is missing, or its URL has expired
            raise BulkOperationFailed(f"{shop}: the file of a bulk operation cannot be downloaded") from error
        else:
            return


async def _start(client: ShopifyClient, shop: str, query: str) -> str:
    waited, pause = 0.0, _FIRST_PAUSE_SECONDS
    while True:
        payload = (await client.query(shop, START_BULK_QUERY, {"query": query}))["bulkOperationRunQuery"] or {}
        errors = payload.get("userErrors") or []
        if not errors and payload.get("bulkOperation"):
            return str(payload["bulkOperation"]["id"])
        if not _LIMIT_REACHED & {error["code"] for error in errors}:
            raise ShopifyQueryInvalid(
                "; ".join(error["message"] for error in errors) or "Shopify started no bulk operation"
            )
        if waited + pause > START_TIMEOUT_SECONDS:
            raise ShopifyThrottled(f"{shop}: no bulk operation could be started for {waited:.0f} s")
        await client.retry.clock.sleep(pause)
        waited, pause = waited + pause, min(_MAX_PAUSE_SECONDS, pause * _PAUSE_FACTOR)


async def _wait_for_result(client: ShopifyClient, shop: str, operation_id: str) -> _Result:
    waited, pause = 0.0, _FIRST_PAUSE_SECONDS
    while waited <= FINISH_TIMEOUT_SECONDS:
        operation = (await client.query(shop, READ_BULK_OPERATION, {"id": operation_id}))["bulkOperation"]
        status = operation["status"] if operation else "EXPIRED"
        if status == "COMPLETED":
            return _read_result(shop, operation)
        if status in _FAILED:
            reason = (operation or {}).get("errorCode") or "no reason given"
            raise BulkOperationFailed(f"{shop}: a bulk operation ended {status} ({reason})")
        await client.wait_for_bulk(operation_id, pause)
        waited, pause = waited + pause, min(_MAX_PAUSE_SECONDS, pause * _PAUSE_FACTOR)
    raise ShopifyUnavailable(f"{shop}: a bulk operation did not finish within {FINISH_TIMEOUT_SECONDS:.0f} s")


def _read_result(shop: str, operation: Mapping[str, Any]) -> _Result:
    """The result of a completed operation. Without a file it must say itself that it selected nothing."""
    url, count = operation.get("url"), str(operation.get("rootObjectCount"))
    if not count.isdecimal() or (url is None and int(count)):
        raise BulkOperationFailed(f"{shop}: a bulk operation of {count} objects completed without their file")
    return _Result(url, int(count))


async def _download(client: ShopifyClient, result: _Result, skip: int) -> AsyncGenerator[dict[str, Any], None]:
    """One download attempt, from line `skip` on. Fewer root objects than announced mean an incomplete file."""
    if result.url is None:
        return
    lines_read = root_objects = 0
    async with aclosing(client.stream_lines(result.url)) as lines:
        async for line in lines:
            lines_read, root_objects = lines_read + 1, root_objects + (b'"__parentId"' not in line)
            if lines_read > skip:
                yield read_object(line)
    if root_objects < result.root_objects:
        raise ShopifyUnavailable(f"a bulk result of {result.root_objects} objects ended after {root_objects}")
