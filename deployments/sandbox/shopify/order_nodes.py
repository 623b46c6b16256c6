"""A shop's orders as GraphQL objects: see `nodes.py`."""

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from graphql import GraphQLError, GraphQLResolveInfo

from deployments.sandbox.shopify.nodes import Node, Window
from deployments.sandbox.shopify.order import Order, OrderLine, Properties
from deployments.sandbox.shopify.orders import Orders
from wishcraft.shopify.ids import from_global, to_global

_TERM: Final = re.compile(r"updated_at:(<=|>=|<|>)'([^']+)'")
_IS: Final[Mapping[str, Callable[[datetime, datetime], bool]]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
FindVariant = Callable[[str], Node | None]


class OrderNodes:
    """The GraphQL objects of one shop's orders."""

    def __init__(self, orders: Orders, find_variant: FindVariant, is_protected: Callable[[], bool]) -> None:
        """`is_protected` says whether the app may not see names and addresses."""
        self._orders = orders
        self._find_variant = find_variant
        self._is_protected = is_protected

    def find(self, global_id: str) -> Node | None:
        """The order with this id, or None."""
        order = self._orders.find(from_global("Order", global_id))
        return self._node(order) if order and self._orders.is_readable(order) else None

    def all(self, info: GraphQLResolveInfo[Any], **arguments: Any) -> Node:
        """The orders that the query selects, oldest first by the chosen time."""
        selects = _selection(arguments.get("query") or "")
        by_update = arguments["sortKey"] == "UPDATED_AT"
        found = {
            _cursor(order.updated_at if by_update else order.created_at, order.id): order
            for order in self._orders.all()
            if selects(order) and self._orders.is_readable(order)
        }
        return _page(sorted(found), lambda cursor: self._node(found[cursor]), info, arguments)

    def _node(self, order: Order) -> Node:
        return {
            "__typename": "Order",
            "id": to_global("Order", order.id),
            "name": order.name,
            "createdAt": _iso(order.created_at),
            "updatedAt": _iso(order.updated_at),
            "cancelledAt": _iso(order.cancelled_at) if order.cancelled_at else None,
            "test": order.is_test,
            "displayFinancialStatus": order.financial_status.upper(),
            "email": lambda _info: self._personal("email", order.customer.email),
            "billingAddress": {
                "id": to_global("MailingAddress", order.id),
                "firstName": lambda _info: self._personal("firstName", order.customer.first_name),
                "lastName": lambda _info: self._personal("lastName", order.customer.last_name),
            },
            "customAttributes": _attributes(order.note_attributes),
            "refunds": lambda _info, **arguments: [
                {"id": to_global("Refund", each.id), "createdAt": _iso(each.created_at)}
                for each in order.refunds[: arguments.get("first")]
            ],
            "lineItems": lambda info, **arguments: self._lines(order, info, arguments),
        }

    def _personal(self, field: str, value: Any) -> Any:
        if self._is_protected():
            message = f"This app is not approved to use the {field} field."
            raise GraphQLError(message, extensions={"code": "ACCESS_DENIED"})
        return value

    def _lines(self, order: Order, info: GraphQLResolveInfo[Any], arguments: Mapping[str, Any]) -> Node:
        found = {f"{line.id:020}": line for line in order.lines}
        return _page(sorted(found), lambda cursor: self._line(found[cursor]), info, arguments)

    def _line(self, line: OrderLine) -> Node:
        return {
            "__typename": "LineItem",
            "id": to_global("LineItem", line.id),
            "title": line.title,
            "quantity": line.ordered,
            "currentQuantity": line.left,
            "customAttributes": _attributes(line.properties),
            "originalUnitPriceSet": {"shopMoney": {"amount": str(line.price)}},
            "variant": lambda _info: self._find_variant(to_global("ProductVariant", line.variant_id)),
        }


def _selection(query: str) -> Callable[[Order], bool]:
    """The filter that a search is. The simulator knows only comparisons of `updated_at`.

    Raises:
        GraphQLError: It is another search.
    """
    terms = _TERM.findall(query)
    if _TERM.sub("", query).replace(" AND ", "").strip():
        raise GraphQLError(f"The simulator does not know the search {query!r}.")
    moments = [(_IS[sign], datetime.fromisoformat(text)) for sign, text in terms]
    return lambda order: all(holds(order.updated_at, moment) for holds, moment in moments)


def _page(
    cursors: Sequence[str],
    node_at: Callable[[str], Node],
    info: GraphQLResolveInfo[Any],
    arguments: Mapping[str, Any],
) -> Node:
    """A page of the objects with these ascending cursors; in a bulk query its window, or everything if nested."""
    if isinstance(info.context, Window):
        window = info.context
        chosen = list(cursors if info.path.prev else cursors[window.start : window.start + window.size])
    else:
        after = base64.b64decode(arguments["after"]).decode() if arguments.get("after") else ""
        first = bisect_right(cursors, after)
        chosen = list(cursors[first : first + arguments["first"]])
    nodes = [node_at(cursor) for cursor in chosen]
    return {
        "nodes": nodes,
        "edges": [{"cursor": _encoded(cursor), "node": node} for cursor, node in zip(chosen, nodes, strict=True)],
        "pageInfo": {
            "hasNextPage": bool(chosen) and chosen[-1] != cursors[-1],
            "hasPreviousPage": bool(chosen) and chosen[0] != cursors[0],
            "startCursor": _encoded(chosen[0]) if chosen else None,
            "endCursor": _encoded(chosen[-1]) if chosen else None,
        },
    }


def _cursor(moment: datetime, number: int) -> str:
    return f"{moment.timestamp():015.0f}{number:020}"


def _encoded(cursor: str) -> str:
    return base64.b64encode(cursor.encode()).decode()


def _attributes(values: Properties) -> list[Node]:
    """Attributes, whose values are text in GraphQL."""
    return [
        {"key": name, "value": value if isinstance(value, str) else str(value).lower()}
        for name, value in values.items()
    ]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
