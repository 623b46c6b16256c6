"""Payloads of the simulator beside those of Shopify: money with taxes, discounts and currencies, and small topics."""

from decimal import Decimal
from typing import Any

import pytest

from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.shopify.simulator import Options
from tests.support.api import SHOP
from tests.support.living_shop import PROMPT, App, living_shop
from wishcraft.domain.registries import PurchaseStatus
from wishcraft.shopify.order_payloads import read_order
from wishcraft.shopify.product_payloads import read_inventory_item

PRICES = {"USD": "100.00", "EUR": "90.00", "JPY": "15000"}


def both(money: dict[str, Any]) -> list[tuple[str, str]]:
    return [(money[side]["amount"], money[side]["currency_code"]) for side in ("shop_money", "presentment_money")]


@pytest.mark.parametrize(
    ("currency", "buyers", "line", "total", "tax"),
    [
        # Three pieces at 10 % off. Prices of the first shop lack the tax of 7.25 %, the others have 20 % and 10 %.
        ("USD", "EUR", ("100.00", "92.00"), ("289.58", "266.41"), ("19.58", "18.01")),
        ("EUR", "JPY", ("90.00", "14674"), ("243.00", "39620"), ("40.50", "6603")),
        ("JPY", "USD", ("15000", "100.00"), ("40500", "270.00"), ("3682", "24.55")),
    ],
)
async def test_amounts_are_in_both_currencies_and_a_purchase_has_the_shops(
    currency: str, buyers: str, line: tuple[str, str], total: tuple[str, str], tax: tuple[str, str]
) -> None:
    demo = next(each for each in DEMO_SHOPS if each.currency == currency)
    async with living_shop(None) as living:
        variant_id = living.simulator.shops[demo.domain].inventory.variant_ids()[0]
        await living.call("PATCH", f"/{demo.domain}/variants/{variant_id}", {"price": PRICES[currency]})
        body = {"lines": [{"variant_id": variant_id, "quantity": 3}], "currency": buyers, "discount_percent": 10}
        order = await living.call("POST", f"/{demo.domain}/orders", body)
    [item] = order["line_items"]
    assert (order["currency"], order["presentment_currency"]) == (currency, buyers)
    assert order["taxes_included"] is (currency != "USD")
    for amounts, expected in (
        (item["price_set"], line),
        (order["total_price_set"], total),
        (order["current_total_price_set"], total),
        (order["total_tax_set"], tax),
        (item["tax_lines"][0]["price_set"], tax),
    ):
        assert both(amounts) == list(zip(expected, (currency, buyers), strict=True))
    [allocation] = item["discount_allocations"]
    assert Decimal(allocation["amount"]) == Decimal(PRICES[currency]) * 3 / 10
    assert order["discount_applications"][allocation["discount_application_index"]]["value"] == "10.0"
    [read] = read_order(order).lines
    [without] = read_order(order | {"line_items": [item | {"price_set": None}]}).lines
    assert read.unit_price == without.unit_price == Decimal(PRICES[currency])


async def test_property_that_a_theme_did_not_send_as_text_is_read_as_text() -> None:
    async with living_shop(None) as living:
        variant_id = living.shop.inventory.variant_ids()[0]
        order = await living.order(
            {"variant_id": variant_id, "properties": {"_is_anonymous": True, "_gift_message": 7}}
        )
    [item] = order["line_items"]
    assert [each["value"] for each in item["properties"]] == [True, 7]
    [read] = read_order(order).lines
    assert (read.anonymous, read.purchaser_name, read.gift_message) == (True, None, "7")


async def test_edited_and_refunded_order_keeps_its_prices_and_lowers_its_current_total() -> None:
    app = App()
    async with living_shop(app.transport, Options(habits=PROMPT)) as living:
        variant_id = living.shop.inventory.variant_ids()[0]
        await living.call("PATCH", f"/{SHOP}/variants/{variant_id}", {"price": "100.00"})
        order = await living.order({"variant_id": variant_id, "quantity": 3}, discount_percent=10)
        order = await living.change(order, "refund", line_id=order["line_items"][0]["id"], pieces=2)
        await living.simulator.webhooks.drain()
    assert (order["total_price"], order["current_total_price"]) == ("289.58", "96.53")
    [refund] = app.payloads("refunds/create")
    [returned] = refund["refund_line_items"]
    assert (returned["subtotal"], returned["total_tax"]) == ("180.00", "13.05")
    assert order["line_items"][0]["price"] == "100.00"


async def test_webhooks_follow_counting_of_stock_payment_and_deletion() -> None:
    app = App()
    async with living_shop(app.transport, Options(habits=PROMPT)) as living:
        variant_id = living.shop.inventory.variant_ids()[0]
        variant = living.shop.inventory.find(variant_id)
        assert variant
        await living.call("PATCH", f"/{SHOP}/variants/{variant_id}", {"tracked": not variant.tracked})
        await living.call("PATCH", f"/{SHOP}/variants/{variant_id}", {"quantity": 7})
        order = await living.order({"variant_id": variant_id}, financial_status="authorized")
        await living.change(order, "payment", status="expired")
        again = await living.http.post(f"/{SHOP}/orders/{order['id']}/payment", json={"status": "paid"})
        assert again.status_code == 409
        assert (await living.http.delete(f"/{SHOP}/orders/{order['id']}")).status_code == 204
        assert (await living.http.delete(f"/{SHOP}/orders/{order['id']}")).status_code == 404
        await living.simulator.webhooks.drain()
    [changed] = app.payloads("inventory_items/update")
    snapshot = read_inventory_item(changed)
    assert (snapshot.inventory_item_id, snapshot.tracked) == (variant.inventory_item_id, variant.tracked)
    statuses = [read_order(each).status for each in app.payloads("orders/updated")]
    assert statuses == [PurchaseStatus.PENDING, PurchaseStatus.CANCELLED]
    assert app.payloads("orders/delete") == [{"id": order["id"]}]
