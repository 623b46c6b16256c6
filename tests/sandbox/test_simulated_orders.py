"""Orders of the simulator: stock follows them, webhooks report them, and registries move."""

from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from deployments.sandbox.shopify.order import Customer
from deployments.sandbox.shopify.orders import Orders, WantedLine
from deployments.sandbox.shopify.simulator import Options, Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, public_slug
from tests.support.living_shop import PROMPT, App, consume, living_shop
from tests.support.waiting import wait_until
from wishcraft.domain.registries import PurchaseStatus
from wishcraft.resources import Resources
from wishcraft.shopify.order_payloads import read_edit, read_order, read_refund

SECOND = 1_790_000_000


@pytest.mark.usefixtures("generous_limits")
async def test_order_of_the_simulator_changes_what_the_api_answers(
    client: httpx.AsyncClient, guest: Shopper, resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE webhook_events")
    slug = public_slug(demo)
    item = (await guest.read(slug)).json()["items"][0]

    async def purchased_becomes(pieces: int) -> None:
        async def is_seen() -> bool:
            await living.simulator.webhooks.drain()
            await consume(resources)
            [shown] = [each for each in (await guest.read(slug)).json()["items"] if each["id"] == item["id"]]
            return bool(shown["purchased"] == pieces)

        await wait_until(is_seen, f"{pieces} pieces")

    async with living_shop(client._transport) as living:
        bought = item["purchased"]
        line = {"variant_id": item["variant_id"], "quantity": 3, "registry_item": item["attribution"]}
        order = await living.order(line)
        await purchased_becomes(bought + 3)
        line_id = order["line_items"][0]["id"]
        await living.change(order, "edit", line_id=line_id, pieces=1)
        await purchased_becomes(bought + 4)
        await living.change(order, "refund", line_id=line_id, pieces=2)
        await purchased_becomes(bought + 2)
        await living.change(order, "cancel")
        await purchased_becomes(bought)
    demo.execute("TRUNCATE webhook_events")


async def test_app_cannot_read_an_order_that_was_made_61_days_ago() -> None:
    query = (
        '{ order(id: "%s") { id } orders(first: 5, query: "updated_at:>=\'2026-01-01T00:00:00Z\'") { nodes { id } } }'
    )
    async with living_shop(None) as living:
        order = await living.order({"variant_id": living.shop.inventory.variant_ids()[0]})
        number = order["admin_graphql_api_id"]
        seen = living.shop.execute(query % number, {}, "")["data"]
        assert seen == {"order": {"id": number}, "orders": {"nodes": [{"id": number}]}}
        [made] = living.shop.orders.all()
        made.created_at -= timedelta(days=61)
        assert living.shop.execute(query % number, {}, "")["data"] == {"order": None, "orders": {"nodes": []}}


async def test_stock_follows_orders_by_location_and_webhooks_tell_of_it() -> None:
    app = App()
    async with living_shop(app.transport, Options(has_store=True, habits=PROMPT)) as living:
        inventory = living.shop.inventory
        variant = next(
            each
            for number in inventory.variant_ids()
            if (each := inventory.find(number)) and each.tracked and each.quantity == 8
        )
        assert variant.levels == {1: 6, 2: 2}
        for pieces, left in ((5, {1: 1, 2: 2}), (2, {1: 1, 2: 0})):
            await living.order({"variant_id": variant.variant_id, "quantity": pieces})
            assert variant.levels == left
        await living.change((await living.call("GET", f"/{SHOP}/orders"))[0], "cancel")
        assert variant.levels == {1: 3, 2: 0}
        await living.call("PATCH", f"/{SHOP}/variants/{variant.variant_id}", {"price": "1.50"})
        await living.simulator.webhooks.drain()
        levels = app.payloads("inventory_levels/update")
        assert [(each["location_id"], each["available"]) for each in levels] == [(1, 1), (2, 0), (1, 3)]
        assert {each["inventory_item_id"] for each in levels} == {variant.inventory_item_id}
        products = app.payloads("products/update")
        shown = [next(one for one in each["variants"] if one["id"] == variant.variant_id) for each in products]
        assert [(each["inventory_quantity"], each["price"]) for each in shown[2:]] == [
            (3, shown[0]["price"]),
            (3, "1.50"),
        ]
        for number in inventory.variant_ids(variant.product_id):
            await living.call("DELETE", f"/{SHOP}/variants/{number}")
        await living.simulator.webhooks.drain()
        assert app.payloads("products/delete") == [{"id": variant.product_id}]


async def test_payloads_of_an_order_are_read_as_what_happened_to_it() -> None:
    app = App()
    async with living_shop(app.transport, Options(clock=lambda: SECOND + 0.7, habits=PROMPT)) as living:
        first, second = living.shop.inventory.variant_ids()[:2]
        order = await living.order(
            {"variant_id": first, "quantity": 3, "registry_item": "an-item"}, {"variant_id": second}, test=True
        )
        line_id = order["line_items"][0]["id"]
        await living.change(order, "edit", line_id=line_id, pieces=-1)
        await living.change(order, "refund", line_id=line_id, pieces=1)
        await living.change(order, "cancel")
        await living.simulator.webhooks.drain()
    created, *_ = (read_order(each) for each in app.payloads("orders/create"))
    assert (created.is_test, created.status, created.refunds) == (True, PurchaseStatus.CONFIRMED, frozenset())
    assert [(line.variant_id, line.ordered, line.left, line.claim) for line in created.lines] == [
        (first, 3, 3, "an-item"),
        (second, 1, 1, ""),
    ]
    [edit], [refund, rest] = app.payloads("orders/edited"), app.payloads("refunds/create")
    assert read_edit(edit).pieces == {line_id: -1}
    assert read_refund(refund).pieces == {line_id: -1}
    assert read_refund(rest).pieces == {line_id: -1, order["line_items"][1]["id"]: -1}
    states = [read_order(each) for each in app.payloads("orders/updated")]
    assert [state.lines[0].left for state in states] == [3, 2, 1, 0]
    assert states[-1].refunds == frozenset((refund["id"], rest["id"]))
    assert (states[-1].status, states[-1].updated_at.timestamp()) == (PurchaseStatus.CANCELLED, SECOND)
    times = [each.triggered_at for each in reversed(living.simulator.webhooks.recent)]
    assert times == sorted(set(times))  # later events have later times, although the clock is stopped


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("orders", {"lines": [{"variant_id": 7}]}, 409),
        ("orders", {"lines": []}, 422),
        ("orders", {"lines": [{"variant_id": 7, "quantity": 0}]}, 422),
        ("orders/7/cancel", None, 404),
        ("orders/{order}/refund", {"line_id": 7, "pieces": 1}, 409),
        ("orders/{order}/refund", {"line_id": "{line}", "pieces": 3}, 409),
        ("orders/{order}/edit", {"line_id": "{line}", "pieces": -3}, 409),
        ("orders/{order}/edit", {"line_id": "{line}", "pieces": 0}, 409),
    ],
)
async def test_impossible_changes_of_orders_are_refused(path: str, body: dict[str, Any] | None, status: int) -> None:
    async with living_shop(None) as living:
        order = await living.order({"variant_id": living.shop.inventory.variant_ids()[0], "quantity": 2})
        if body and body.get("line_id") == "{line}":
            body = body | {"line_id": order["line_items"][0]["id"]}
        answer = await living.http.post(f"/{SHOP}/{path.format(order=order['id'])}", json=body)
        assert answer.status_code == status, answer.text
        assert await living.call("GET", f"/{SHOP}/orders") == [order]


async def test_cancelled_order_cannot_be_changed() -> None:
    async with living_shop(None) as living:
        order = await living.order({"variant_id": living.shop.inventory.variant_ids()[0]})
        await living.change(order, "cancel")
        line_id = order["line_items"][0]["id"]
        changes = {
            "cancel": None, "edit": {"line_id": line_id, "pieces": 1}, "refund": {"line_id": line_id, "pieces": 1}
        }  # fmt: skip
        for action, body in changes.items():
            answer = await living.http.post(f"/{SHOP}/orders/{order['id']}/{action}", json=body)
            assert answer.status_code == 409, action


def test_restarted_simulator_uses_new_ids_and_numbers_and_forgets_old_orders() -> None:
    made = []
    for started in (SECOND, SECOND + 5):
        shop = Simulator(Options(products=2)).shops[SHOP]
        kept = Orders(shop.demo, shop.inventory, partial(float, started), lambda *_: None, max_orders=3)
        wanted = WantedLine(shop.inventory.variant_ids()[0], 1, {})
        orders = [kept.create([wanted], Customer(1, "Ada", "Byron", "ada@example.com")) for _ in range(5)]
        assert kept.all() == orders[2:]
        made.append(orders)
    assert max(order.id for order in made[0]) < min(order.id for order in made[1])
    assert len({order.name for orders in made for order in orders}) == 10
