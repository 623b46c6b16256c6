"""Control API for orders, webhooks and the shopping: for people and tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from deployments.sandbox.catalogue import CURRENCIES
from deployments.sandbox.shopify.admin import ShopDep, SimulatorDep
from deployments.sandbox.shopify.order import Customer, Order, Terms
from deployments.sandbox.shopify.order_payloads import order_payload
from deployments.sandbox.shopify.orders import OrderRefused, WantedLine
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.shopping import MAX_FLOOD, MAX_RATE, Shopping
from deployments.sandbox.shopify.webhooks import SHOWN, Habits

router = APIRouter()
Pieces = Annotated[int, Field(ge=1, le=1_000)]
Name = Annotated[str, Field(max_length=100)]
Text = Annotated[str, Field(max_length=1_000)]


def _require_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError(f"must be one of {', '.join(CURRENCIES)}")
    return code


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LineBody(_Body):
    """A line of a new order; `registry_item` is the attribution of an item."""

    variant_id: int
    quantity: Pieces = 1
    registry_item: str | None = None
    properties: Mapping[Name, Text | bool | int] = {}


class OrderBody(_Body):
    """A new order."""

    lines: list[LineBody] = Field(min_length=1, max_length=500)
    note_attributes: Mapping[Name, Text] = {}
    first_name: str = "Ada"
    last_name: str = "Byron"
    email: str = "ada.byron@example.com"
    test: bool = False
    currency: Annotated[str, AfterValidator(_require_currency)] | None = None
    """The buyer's, if it is not the shop's."""
    discount_percent: Annotated[int, Field(ge=0, le=100)] = 0
    financial_status: Literal["paid", "pending", "authorized"] = "paid"


class EditBody(_Body):
    """Pieces to add to a line, or to remove if negative."""

    line_id: int
    pieces: Annotated[int, Field(ge=-1_000, le=1_000)]


class RefundBody(_Body):
    """Pieces to take back."""

    line_id: int
    pieces: Pieces


class PaymentBody(_Body):
    """How the payment of an unpaid order ends."""

    status: Literal["paid", "voided", "expired"]


class RateBody(_Body):
    """How many things guests do per minute."""

    per_minute: Annotated[float, Field(ge=0, le=MAX_RATE)]


class FloodBody(_Body):
    """How many things guests do as fast as they can."""

    actions: Annotated[int, Field(ge=1, le=MAX_FLOOD)] = 500


class HabitsBody(_Body):
    """How webhooks arrive; absent fields keep their values."""

    delayed: Annotated[float, Field(ge=0, le=1)] = 0
    longest_delay: Annotated[float, Field(ge=0, le=3_600)] = 0
    repeated: Annotated[float, Field(ge=0, le=1)] = 0
    lost: Annotated[float, Field(ge=0, le=1)] = 0
    compression: Annotated[float, Field(ge=1, le=1_000_000)] = 1


@router.get("/{shop}/orders")
async def list_orders(shop: ShopDep, limit: Annotated[int, Query(ge=1, le=250)] = 50) -> list[dict[str, Any]]:
    """The newest orders, as webhooks have them."""
    return [order_payload(shop.demo, order) for order in shop.orders.all()[: -limit - 1 : -1]]


@router.post("/{shop}/orders", status_code=HTTPStatus.CREATED)
async def create_order(shop: ShopDep, body: OrderBody) -> dict[str, Any]:
    """Place an order."""
    lines = [
        WantedLine(
            line.variant_id,
            line.quantity,
            ({"_registry_item": line.registry_item} if line.registry_item else {}) | dict(line.properties),
        )
        for line in body.lines
    ]
    customer = Customer(7_300_000_000_000, body.first_name, body.last_name, body.email)
    with _refusals():
        terms = Terms(body.currency or "", body.discount_percent, body.financial_status)
        order = shop.orders.create(lines, customer, body.note_attributes, is_test=body.test, terms=terms)
    return order_payload(shop.demo, order)


@router.post("/{shop}/orders/{order_id}/edit")
async def edit_order(shop: ShopDep, order_id: int, body: EditBody) -> dict[str, Any]:
    """Edit a line of an order."""
    order = _find(shop, order_id)
    with _refusals():
        shop.orders.edit(order, body.line_id, body.pieces)
    return order_payload(shop.demo, order)


@router.post("/{shop}/orders/{order_id}/refund")
async def refund_order(shop: ShopDep, order_id: int, body: RefundBody) -> dict[str, Any]:
    """Take pieces of a line back."""
    order = _find(shop, order_id)
    with _refusals():
        shop.orders.refund(order, {body.line_id: body.pieces})
    return order_payload(shop.demo, order)


@router.post("/{shop}/orders/{order_id}/cancel")
async def cancel_order(shop: ShopDep, order_id: int) -> dict[str, Any]:
    """Cancel an order."""
    order = _find(shop, order_id)
    with _refusals():
        shop.orders.cancel(order)
    return order_payload(shop.demo, order)


@router.post("/{shop}/orders/{order_id}/payment")
async def settle_order(shop: ShopDep, order_id: int, body: PaymentBody) -> dict[str, Any]:
    """Let the payment of an unpaid order end."""
    order = _find(shop, order_id)
    with _refusals():
        shop.orders.settle(order, body.status)
    return order_payload(shop.demo, order)


@router.delete("/{shop}/orders/{order_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_order(shop: ShopDep, order_id: int) -> None:
    """Delete an order, as staff may who have archived it."""
    shop.orders.delete(_find(shop, order_id))


@router.get("/shopping")
async def read_shopping(simulator: SimulatorDep, limit: Annotated[int, Query(ge=1, le=SHOWN)] = 30) -> dict[str, Any]:
    """Rate, flood, the last actions of guests, and the last webhooks with what came back."""
    shopping = simulator.shopping
    return {
        "is_connected": shopping is not None,
        "per_minute": shopping.rate if shopping else 0,
        "owed": shopping.owed if shopping else 0,
        "habits": asdict(simulator.webhooks.habits),
        "actions": [asdict(action) for action in list(shopping.recent)[:limit]] if shopping else [],
        **simulator.webhooks.overview(limit),
    }


@router.put("/shopping")
async def set_rate(simulator: SimulatorDep, body: RateBody) -> dict[str, Any]:
    """Change how much guests do."""
    _require(simulator.shopping).set_rate(body.per_minute)
    return await read_shopping(simulator, 1)


@router.post("/shopping/flood")
async def flood(simulator: SimulatorDep, body: FloodBody) -> dict[str, Any]:
    """Let guests do many things at once."""
    _require(simulator.shopping).flood(body.actions)
    return await read_shopping(simulator, 1)


@router.put("/shopping/habits")
async def set_habits(simulator: SimulatorDep, body: HabitsBody) -> dict[str, Any]:
    """Change how webhooks arrive."""
    changed = asdict(simulator.webhooks.habits) | body.model_dump(include=body.model_fields_set)
    simulator.webhooks.habits = Habits(**changed)
    return changed


def _require(shopping: Shopping | None) -> Shopping:
    if shopping is None:
        raise HTTPException(HTTPStatus.CONFLICT, "The simulator was started without --app.")
    return shopping


def _find(shop: SimulatedShop, order_id: int) -> Order:
    order = shop.orders.find(order_id)
    if order is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such order")
    return order


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OrderRefused as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
