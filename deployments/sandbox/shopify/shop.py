"""One simulated shop: stock, orders, rate limit, faults and bulk operations, and the execution of GraphQL requests."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from graphql.execution import execute_sync

from deployments.sandbox.catalogue import DemoShop
from deployments.sandbox.shopify.bulk import MAX_RUNNING, BulkOperation, BulkQuery
from deployments.sandbox.shopify.error_response import ErrorResponse
from deployments.sandbox.shopify.faults import FaultKind, Faults
from deployments.sandbox.shopify.inventory import Inventory, Variant
from deployments.sandbox.shopify.nodes import Nodes
from deployments.sandbox.shopify.order_nodes import OrderNodes
from deployments.sandbox.shopify.orders import Orders, Publish
from deployments.sandbox.shopify.product_payloads import inventory_item_payload, level_payload, product_payload
from deployments.sandbox.shopify.query_cost import QueryCost
from deployments.sandbox.shopify.rate_limit import Counters, LeakyBucket
from deployments.sandbox.shopify.schema import SCHEMA, parse_and_validate
from wishcraft.shopify.ids import from_global, to_global

_UNFINISHED: Final = frozenset({"CREATED", "RUNNING"})


class SimulatedShop:
    """The state of one shop and its GraphQL execution."""

    def __init__(
        self,
        demo: DemoShop,
        inventory: Inventory,
        bucket: LeakyBucket,
        clock: Callable[[], float],
        bulk_seconds: float,
        publish: Publish,
        origin: str,
    ) -> None:
        """`bulk_seconds` is the delay before a bulk operation runs; `origin` is the shop's URL."""
        self.demo = demo
        self.inventory = inventory
        self.orders = Orders(demo, inventory, clock, publish)
        inventory.on_change = self._publish_stock
        inventory.on_item_change = self._publish_item
        self._publish = publish
        self._origin = origin
        self.bucket = bucket
        self.faults = Faults()
        self.counters = Counters()
        self.bulk_operations: list[BulkOperation] = []
        self._nodes = Nodes(inventory)
        self._order_nodes = OrderNodes(
            self.orders, self._nodes.find, lambda: self.faults.consume(FaultKind.PROTECTED_DATA)
        )
        self._clock = clock
        self._bulk_seconds = bulk_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def execute(self, query: str, variables: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Execute a GraphQL request to this shop's `origin`; returns the JSON response."""
        self.counters.requests += 1
        try:
            return self._execute(query, variables, origin)
        except ErrorResponse as error:
            self.counters.throttled += error.body["errors"][0].get("extensions", {}).get("code") == "THROTTLED"
            return error.body

    def file(self, key: str) -> bytes | None:
        """The file of a completed bulk operation, by the last segment of its URL."""
        matches = [done for done in self.bulk_operations if done.url and done.url.endswith(f"/{key}")]
        return bytes(matches[0].content) if matches else None

    def _publish_stock(self, variant: Variant, before: Mapping[int, int]) -> None:
        """Publish a change of a variant; `before` has its pieces by location before it."""
        description = variant.product_title
        if not self.inventory.variant_ids(variant.product_id):
            self._publish("products/delete", {"id": variant.product_id}, description)
            return
        self._publish("products/update", product_payload(self.demo, self.inventory, variant, self._origin), description)
        for location_id, available in variant.levels.items():
            if available != before.get(location_id):
                payload = level_payload(self.demo, variant, location_id, available)
                self._publish("inventory_levels/update", payload, description)

    def _publish_item(self, variant: Variant) -> None:
        self._publish("inventory_items/update", inventory_item_payload(self.demo, variant), variant.product_title)

    def _execute(self, query: str, variables: Mapping[str, Any], origin: str) -> dict[str, Any]:
        if self.faults.consume(FaultKind.INACTIVE):
            raise ErrorResponse.with_code("The shop is not active.", "SHOP_INACTIVE")
        document = parse_and_validate(query)
        cost = QueryCost(document, variables)
        requested = cost.requested(2 if self.faults.consume(FaultKind.EXPENSIVE) else 1)
        if self.faults.consume(FaultKind.THROTTLE):
            self.bucket.drain()
            raise ErrorResponse.throttled(self.bucket.cost(requested, None))
        self.bucket.take(requested)
        if "bulkOperationRunQuery" in query and self.faults.consume(FaultKind.BULK_DENIED):
            raise ErrorResponse.access_denied("bulkOperationRunQuery", self.bucket.cost(requested, 0))
        result = execute_sync(SCHEMA, document, root_value=self._root_value(origin), variable_values=dict(variables))
        actual = min(requested, cost.actual(result.data or {}))  # a list without pages costs one point
        self.bucket.refund(requested - actual)
        self.counters.points_spent += actual
        return {**result.formatted, "extensions": {"cost": self.bucket.cost(requested, actual)}}

    def _root_value(self, origin: str) -> dict[str, Any]:
        return {
            "origin": origin,
            "shop": {
                "id": to_global("Shop", self.demo.number),
                "name": self.demo.name,
                "myshopifyDomain": self.demo.domain,
                "email": f"owner@{self.demo.domain}",
                "currencyCode": self.demo.currency,
                "ianaTimezone": self.demo.timezone,
                "plan": {"publicDisplayName": self.demo.plan.capitalize()},
            },
            "node": lambda _info, id: self._find(id),  # noqa: A006  the schema's name for it
            "nodes": lambda _info, ids: [self._find(global_id) for global_id in ids],
            "order": lambda _info, id: self._order_nodes.find(id),  # noqa: A006
            "orders": self._order_nodes.all,
            "productVariant": lambda _info, id: self._nodes.find(id),  # noqa: A006
            "productVariants": self._nodes.variants,
            "products": self._nodes.products,
            "bulkOperation": lambda _info, id: self._find(id),  # noqa: A006
            "bulkOperationRunQuery": lambda _info, **arguments: self._run_bulk(origin, **arguments),
        }

    def _find(self, global_id: str) -> dict[str, Any] | None:
        if global_id.startswith("gid://shopify/Order/"):
            return self._order_nodes.find(global_id)
        if not global_id.startswith("gid://shopify/BulkOperation/"):
            return self._nodes.find(global_id)
        number = from_global("BulkOperation", global_id)
        return next((operation.node() for operation in self.bulk_operations if operation.number == number), None)

    def _run_bulk(self, origin: str, **arguments: Any) -> dict[str, Any]:
        if sum(operation.status in _UNFINISHED for operation in self.bulk_operations) >= MAX_RUNNING:
            return _user_error("LIMIT_REACHED", f"{MAX_RUNNING} bulk operations are in progress already.", None)
        try:
            query = BulkQuery(arguments["query"])
        except ValueError as error:
            return _user_error("INVALID", str(error), ["query"])
        except ErrorResponse as error:
            return _user_error("INVALID", f"Invalid bulk query: {error.body['errors'][0]['message']}", ["query"])
        number = self.demo.number * 1_000_000 + len(self.bulk_operations) + 1
        operation = BulkOperation(number, arguments["query"], arguments["groupObjects"], self._now())
        self.bulk_operations.append(operation)
        self.counters.bulk_operations += 1
        task = asyncio.create_task(self._work(operation, query, origin))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"bulkOperation": operation.node(), "userErrors": []}

    async def _work(self, operation: BulkOperation, query: BulkQuery, origin: str) -> None:
        await asyncio.sleep(self._bulk_seconds)
        operation.status = "RUNNING"
        if self.faults.consume(FaultKind.BULK_FAILED):
            operation.status, operation.error_code = "FAILED", "INTERNAL_SERVER_ERROR"
        elif self.faults.consume(FaultKind.BULK_CANCELED):
            operation.status = "CANCELED"
        else:
            await query.run(operation, self._root_value(origin))
            has_file = operation.objects and not self.faults.consume(FaultKind.BULK_WITHOUT_FILE)
            operation.url = f"{origin}/downloads/{secrets.token_urlsafe(24)}.jsonl" if has_file else None
            operation.status = "COMPLETED"
        operation.completed_at = self._now()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _user_error(code: str, message: str, field: list[str] | None) -> dict[str, Any]:
    return {"bulkOperation": None, "userErrors": [{"code": code, "message": message, "field": field}]}
