"""The simulated day of shopping."""

import re

import httpx
import pytest

from deployments.sandbox.shopify.shopping import MAX_FLOOD
from deployments.sandbox.shopify.simulator import Options
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.living_shop import PROMPT, LivingShop, consume, living_shop
from tests.support.waiting import wait_until
from wishcraft.resources import Resources

ACTIONS = 200
ORDER = re.compile(r"#(\d+)")


async def shop_for_a_while(living: LivingShop, actions: int) -> list[tuple[str, str, str]]:
    shopping = living.simulator.shopping
    assert shopping
    for _ in range(actions):
        await shopping.act()
    return [(action.shop, action.what, action.description) for action in shopping.recent]


@pytest.mark.usefixtures("generous_limits")
async def test_guests_buy_for_registries_that_they_see_through_the_proxy(
    client: httpx.AsyncClient, resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE webhook_events")
    days = []
    for _ in range(2):
        async with living_shop(client._transport, Options(seed=6, habits=PROMPT)) as living:
            days.append(await shop_for_a_while(living, ACTIONS))
            await living.simulator.webhooks.drain()
            totals = living.simulator.webhooks.totals
            assert (totals.given_up, totals.lost, totals.pending) == (0, 0, 0)
            assert totals.accepted == totals.sent - totals.tried_again  # which a busy machine may need
            orders = {order.id: order for shop in living.simulator.shops.values() for order in shop.orders.all()}
    assert with_numbers_from_0(days[0]) == with_numbers_from_0(days[1])  # the same for the same seed
    assert {what for _, what, _ in days[0]} == {"view", "cart", "order", "edit", "cancel", "return", "payment"}
    assert not [description for *_, description in days[0] if "answered" in description]

    async def is_handled() -> bool:
        await consume(resources)
        return demo.execute("SELECT FROM webhook_events WHERE handled_at IS NULL").fetchone() is None

    await wait_until(is_handled)
    assert demo.execute("SELECT FROM webhook_events WHERE outcome = 'dead'").fetchone() is None
    claimed = [order for order in orders.values() if order.note_attributes or order.lines[0].properties]
    bought = demo.execute("SELECT DISTINCT order_id FROM purchases WHERE order_id = ANY(%s)", [list(orders)]).fetchall()
    assert {order_id for (order_id,) in bought} == {order.id for order in claimed}
    assert len(claimed) > ACTIONS / 8
    assert len(orders) > len(claimed)  # some just buy
    demo.execute("TRUNCATE webhook_events")


def with_numbers_from_0(day: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The actions, with the orders of each shop numbered from its first one on: the numbers begin with the time."""
    first: dict[str, int] = {}
    for shop, _, description in day:
        for number in ORDER.findall(description):
            first[shop] = min(first.get(shop, int(number)), int(number))
    return [
        (shop, what, ORDER.sub(lambda found, shop=shop: f"#{int(found[1]) - first[shop]}", description))  # type: ignore[misc]
        for shop, what, description in day
    ]


async def test_rate_and_flood_are_chosen_and_events_are_shown() -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(503))
    async with living_shop(answer) as living:
        await living.call("PUT", "/shopping/habits", {"delayed": 0, "compression": 1_000_000})
        assert (await living.call("GET", "/shopping"))["per_minute"] == 0
        shown = await living.call("POST", "/shopping/flood", {"actions": 30})

        async def is_over() -> bool:
            nonlocal shown
            shown = await living.call("GET", "/shopping")
            return shown["owed"] == 0 and len(shown["actions"]) == 30

        await wait_until(is_over)
        assert {action["description"] for action in shown["actions"]} == {
            "failed: the app answered 503 Service Unavailable"
        }
        await living.order({"variant_id": living.shop.inventory.variant_ids()[0]})
        await living.simulator.webhooks.drain()
        shown = await living.call("GET", "/shopping")
        assert {(each["state"], each["tries"], each["answer"]) for each in shown["deliveries"]} == {
            ("given up", 9, "503")
        }
        assert {"orders/create", "orders/updated", "products/update"} <= {each["topic"] for each in shown["deliveries"]}
        assert (await living.call("PUT", "/shopping", {"per_minute": 6_000}))["per_minute"] == 6_000
        shopping = living.simulator.shopping
        assert shopping
        shopping.recent.clear()
        await wait_until(lambda: shopping.recent)
        for path, body in (("shopping", {"per_minute": 6_001}), ("shopping/habits", {"lost": 2})):
            assert (await living.http.put(f"/{path}", json=body)).status_code == 422
        too_many = {"actions": MAX_FLOOD + 1}
        assert (await living.http.post("/shopping/flood", json=too_many)).status_code == 422


@pytest.mark.parametrize(("remaining", "most_given"), [(0, 0), (1, 1), (5, 3)])
async def test_guests_give_no_more_than_is_still_wanted(
    remaining: int, most_given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.sandbox.shopify.shopping._ACTIONS", {"view": 1, "cart": 1, "order": 2})
    wanted = {"available": True, "remaining": remaining, "attribution": "a" * 32}

    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/api/webhooks"):
            return httpx.Response(200)
        if request.url.path.endswith("/registries"):
            return httpx.Response(200, json={"registries": [{"slug": "a"}]})
        variants = [living.shop.inventory.variant_ids()[number] for number in range(20)]
        items = [{"id": number, "variant_id": each, **wanted} for number, each in enumerate(variants)]
        return httpx.Response(200, json={"items": items})

    async with living_shop(httpx.MockTransport(reply), Options(seed=1, habits=PROMPT)) as living:
        await shop_for_a_while(living, 300)
        orders = [order for shop in living.simulator.shops.values() for order in shop.orders.all()]
        given = [
            line.ordered
            for order in orders
            for line in order.lines
            if order.note_attributes or "_registry_item" in line.properties
        ]
        assert len(orders) > 20
        assert max(given, default=0) == most_given


async def test_shop_without_the_app_has_no_guests_no_webhooks_and_no_proxy() -> None:
    async def fail(request: httpx.Request) -> httpx.Response:
        pytest.fail(f"asked for {request.url}")

    async with living_shop(httpx.MockTransport(fail)) as living:
        for domain in living.simulator.shops:
            living.simulator.credentials.uninstall(domain)
        shopping = living.simulator.shopping
        assert shopping
        await shopping.act()
        await living.order({"variant_id": living.shop.inventory.variant_ids()[0]})
        assert (await living.http.get(f"/{SHOP}/apps/registry/registries")).status_code == 404
        assert (await living.call("GET", "/shopping"))["deliveries"] == []


async def test_simulator_without_an_app_has_no_guests() -> None:
    async with living_shop(None) as living:
        shown = await living.call("GET", "/shopping")
        assert (shown["is_connected"], shown["deliveries"]) == (False, [])
        assert (await living.http.put("/shopping", json={"per_minute": 5})).status_code == 409
        await living.order({"variant_id": living.shop.inventory.variant_ids()[0]})
        assert (await living.call("GET", "/shopping"))["deliveries"] == []


@pytest.mark.parametrize("answer", [httpx.ConnectError("refused"), httpx.Response(200, content=b"no JSON")])
async def test_shopping_goes_on_while_the_app_does_not_answer(answer: httpx.Response | Exception) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with living_shop(httpx.MockTransport(reply), Options(actions_per_minute=6_000, habits=PROMPT)) as living:
        shopping = living.simulator.shopping
        assert shopping
        await wait_until(lambda: len(shopping.recent) > 3)
        assert {action.what for action in shopping.recent} == {"view"}
        description = "failed: the app does not answer: connect error"
        assert {action.description for action in shopping.recent} <= {
            description,
            "failed: the app's answer is not JSON",
        }


async def test_customer_asks_for_their_data_and_is_erased(
    client: httpx.AsyncClient, resources: Resources, demo: Demo
) -> None:
    demo.execute("TRUNCATE webhook_events")
    [(customer,)] = demo.execute("SELECT max(customer_id) FROM registries WHERE shop_id = 1").fetchall()
    async with living_shop(client._transport, Options(seed=6, habits=PROMPT)) as living:
        for name in ("data-request", "redact"):
            answer = await living.http.post(f"/{SHOP}/customers/{customer}/{name}")
            assert answer.status_code == 204
        await living.simulator.webhooks.drain()
    topics = demo.execute("SELECT topic FROM webhook_events ORDER BY id").fetchall()
    assert topics == [("customers/data_request",), ("customers/redact",)]
    await consume(resources)
    left = demo.execute("SELECT count(*) FROM registries WHERE customer_id = %s AND shop_id = 1", [customer]).fetchone()
    assert left == (0,)
    demo.execute("TRUNCATE webhook_events")
