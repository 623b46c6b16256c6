"""The jobs about webhooks: what people see and decide, what is refused, and no personal data in Prefect."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson
import pytest
from prefect import State

from flows.match_purchases import match_purchases
from flows.webhook_dead_letters import webhook_dead_letters
from flows.webhook_sweep import webhook_sweep
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import artifacts_of, summary_of, table_of
from tests.support.webhooks import line, order
from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.resources import Resources
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.process import process

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP, OTHER, GONE = "maple-and-pine.myshopify.com", "sakura-living.myshopify.com", "gone.myshopify.com"
PRIVATE = ("gast@example.com", "Ada", "Byron", "Grandma", "All the best", "emma-and-hugo")


@pytest.fixture(autouse=True)
def _empty(demo: Demo) -> Iterator[None]:
    tables = "TRUNCATE webhook_events, purchases, orders, unmatched_lines, audit_logs"
    demo.execute(tables)
    demo.execute("UPDATE registry_items SET quantity_purchased = 0")
    yield
    demo.execute(tables)


def add_dead(demo: Demo, shop: str = SHOP, payload: bytes | None = b'{"id": "Ada"}') -> int:
    [(row_id,)] = demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload, outcome, handled_at, due_at, attempts,
               failures)
           VALUES (%s, gen_random_uuid()::text, 'orders/create', %s, 'dead', now(), now() - interval '1 hour', 10,
               '[{"at": "2026-03-14T12:00:00+00:00", "reason": "ShopifyUnavailable"},
                 {"at": "2026-03-14T12:30:00+00:00", "reason": "id is not an id."}]')
           RETURNING id""",
        [shop, payload],
    ).fetchall()
    return int(row_id)


def outcomes(demo: Demo) -> dict[int, tuple[str | None, int]]:
    rows = demo.execute("SELECT id, outcome, attempts FROM webhook_events")
    return {row_id: (outcome, attempts) for row_id, outcome, attempts in rows}


def audited(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT shop_id, actor, action, resource, resource_id FROM audit_logs ORDER BY id").fetchall()


def is_refused(state: State[Any], reason: str) -> bool:
    return state.name == "Refused" and reason in str(state.message)


async def require_no_personal_data(state: State[Any]) -> None:
    found = [*await artifacts_of(state, "markdown"), *await artifacts_of(state, "table")]
    assert found
    text = f"{state.message} {[(each.data, each.description) for each in found]}"
    assert not [each for each in PRIVATE if each in text]


async def test_dead_letters_are_listed_with_the_reason_of_their_last_failure(demo: Demo) -> None:
    ids = [add_dead(demo), add_dead(demo, OTHER), add_dead(demo, GONE)]
    state = await webhook_dead_letters(return_state=True)
    assert state.message == "3 dead letters."
    rows = await table_of(state)
    assert [(row["id"], row["shop"], row["reason"]) for row in rows] == [
        (row_id, shop, "id is not an id.") for row_id, shop in zip(ids, (SHOP, OTHER, GONE), strict=True)
    ]
    await require_no_personal_data(state)
    one = await webhook_dead_letters(shop=f" {OTHER.upper()}", return_state=True)
    assert [row["id"] for row in await table_of(one)] == [ids[1]]
    gone = await webhook_dead_letters(shop=GONE, return_state=True)
    assert [row["id"] for row in await table_of(gone)] == [ids[2]]
    assert (await webhook_dead_letters(shop="lumiere-maison.myshopify.com", return_state=True)).message == (
        "No dead letter."
    )


async def test_inspection_shows_failures_and_the_payload_without_personal_data(demo: Demo) -> None:
    payload = order([line(91, None, 2, "claim of Ada", title="Ada's")], number=90)
    row_id, empty = add_dead(demo, payload=orjson.dumps(payload)), add_dead(demo, payload=None)
    state = await webhook_dead_letters("inspect", [row_id, empty], return_state=True)
    assert state.message == "2 dead letters inspected."
    tables = {each.key: orjson.loads(str(each.data)) for each in await artifacts_of(state, "table")}
    assert [each["reason"] for each in tables["webhook-dead-letters-failures"]] == [
        "ShopifyUnavailable", "id is not an id.",
    ] * 2  # fmt: skip
    fields = {(each["id"], each["field"]): each["value"] for each in tables["webhook-dead-letters-payloads"]}
    assert fields[row_id, "line_items[0].quantity"] == "2"
    assert fields[row_id, "email"] == "text"
    assert fields[empty, ""] == "the payload was removed"
    assert fields[row_id, "line_items[0].variant_id"] == "null"
    assert "## Payloads" in await summary_of(state)
    await require_no_personal_data(state)


async def test_replayed_dead_letters_are_in_the_queue_and_are_handled(demo: Demo, resources: Resources) -> None:
    [row_id, gone, left] = [add_dead(demo, payload=orjson.dumps(order([]))), add_dead(demo, GONE), add_dead(demo)]
    state = await webhook_dead_letters("replay", [gone, row_id, row_id], return_state=True)
    assert state.message == "2 dead letters will be handled now."
    assert outcomes(demo) == {row_id: (None, 0), gone: (None, 0), left: ("dead", 10)}
    assert audited(demo) == [(1, "webhook-dead-letters", "webhook.replayed", "webhook", str(row_id))]
    [(details,)] = demo.execute("SELECT metadata FROM audit_logs").fetchall()
    assert details == {"topic": "orders/create", "run": str(state.state_details.flow_run_id)}
    assert await WebhookQueue(resources.redis).length() == 2
    await process(resources, {"orders/create": handle_orders}, SHOP, [row_id])
    assert outcomes(demo)[row_id] == ("applied", 0)
    await require_no_personal_data(state)
    again = await webhook_dead_letters("replay", [left, row_id], return_state=True)
    assert is_refused(again, f"were replayed or discarded before, or are of another shop: {row_id}")
    assert outcomes(demo)[left] == ("dead", 10)


async def test_discarded_dead_letters_stay_and_are_not_handled(demo: Demo, resources: Resources) -> None:
    row_id, empty = add_dead(demo), add_dead(demo, payload=None)
    assert is_refused(await webhook_dead_letters("replay", [row_id, empty], return_state=True), f"them: {empty}")
    state = await webhook_dead_letters("discard", [row_id, empty], shop=SHOP, return_state=True)
    assert state.message == "2 dead letters discarded."
    assert outcomes(demo) == {row_id: ("discarded", 10), empty: ("discarded", 10)}
    assert [entry[2] for entry in audited(demo)] == ["webhook.discarded"] * 2
    assert await process(resources, {"orders/create": handle_orders}, SHOP, [row_id]) == {}
    assert is_refused(await webhook_dead_letters("discard", [row_id], return_state=True), str(row_id))


async def test_every_dead_letter_of_a_shop_can_be_replayed_at_once(demo: Demo) -> None:
    mine, empty, other = [add_dead(demo) for _ in range(3)], add_dead(demo, payload=None), add_dead(demo, OTHER)
    state = await webhook_dead_letters("replay", shop=SHOP, every=True, return_state=True)
    assert state.message == "3 dead letters will be handled now."
    assert outcomes(demo) == {**dict.fromkeys(mine, (None, 0)), empty: ("dead", 10), other: ("dead", 10)}
    everything = await webhook_dead_letters("discard", every=True, return_state=True)
    assert everything.message == "2 dead letters discarded."
    none = await webhook_dead_letters("discard", every=True, return_state=True)
    assert none.message == "0 dead letters discarded."


async def test_dead_letters_are_replayed_without_redis(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    row_id = add_dead(demo)
    state = await webhook_dead_letters("replay", [row_id], return_state=True)
    assert state.is_completed(), state.message
    assert outcomes(demo) == {row_id: (None, 0)}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"action": "replay"}, "replay needs ids, or every"),
        ({"action": "replay", "ids": [1], "every": True}, "replay needs ids, or every"),
        ({"action": "inspect", "every": True}, "inspect needs ids"),
        ({"action": "inspect", "ids": list(range(1, 22))}, "inspect takes at most 20 ids"),
        ({"action": "list", "ids": [1]}, "the action list takes no ids"),
        ({"action": "discard", "ids": [1, 2**63 - 1]}, "nothing was done"),
        ({"action": "inspect", "ids": [1]}, "there are no dead letters with these ids"),
        ({"action": "replay", "ids": [0]}, "ids"),
        ({"action": "replay", "ids": [2**63]}, "ids"),
        ({"action": "replay", "ids": [1] * 501}, "ids"),
        ({"action": "delete"}, "action"),
        ({"shop": "nobody.myshopify.com"}, "no shop has the domain"),
    ],
)
async def test_parameters_that_name_no_dead_letter_are_refused(parameters: dict[str, Any], reason: str) -> None:
    assert is_refused(await webhook_dead_letters(**parameters, return_state=True), reason)


async def test_dead_letter_of_another_shop_is_refused_and_nothing_changes(demo: Demo) -> None:
    mine, other = add_dead(demo), add_dead(demo, OTHER)
    for action in ("inspect", "replay", "discard"):
        state = await webhook_dead_letters(action, [mine, other], shop=SHOP, return_state=True)
        assert is_refused(state, f"of another shop: {other}")
    assert outcomes(demo) == {mine: ("dead", 10), other: ("dead", 10)}
    assert audited(demo) == []


async def test_sweep_puts_what_waits_in_the_inbox_into_the_queue(demo: Demo, resources: Resources) -> None:
    add_dead(demo)
    for number in range(3):
        demo.execute(
            "INSERT INTO webhook_events (shop_domain, webhook_id, topic, due_at) VALUES (%s, %s, 'orders/create', %s)",
            [SHOP, str(number), "2026-03-14" if number else "9999-12-31"],
        )
    state = await webhook_sweep(return_state=True)
    assert state.message == "Webhooks put into the queue: 2."
    assert await WebhookQueue(resources.redis).length() == 2


async def receive(demo: Demo, resources: Resources, *lines: dict[str, Any], **values: Any) -> None:
    """Handle an order."""
    [(row_id,)] = demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload)
           VALUES (%s, gen_random_uuid()::text, 'orders/updated', %s) RETURNING id""",
        [SHOP, orjson.dumps(order(lines, **values))],
    ).fetchall()
    await process(resources, {"orders/updated": handle_orders}, SHOP, [row_id])


def find_item(demo: Demo, shop: str = SHOP) -> tuple[int, int, int, str]:
    """An item of an active registry: id, registry, variant, slug."""
    [row] = demo.execute(
        """SELECT i.id, r.id, i.variant_id, r.slug FROM registry_items i JOIN registries r ON r.id = i.registry_id
           JOIN shops s ON s.id = r.shop_id
           WHERE s.domain = %s AND r.status = 'active' AND i.status <> 'hidden' ORDER BY i.id LIMIT 1""",
        [shop],
    ).fetchall()
    return row


def purchased(demo: Demo, item_id: int) -> tuple[Any, ...] | None:
    return demo.execute("SELECT quantity_purchased FROM registry_items WHERE id = %s", [item_id]).fetchone()


async def unmatched_ids(state: State[Any]) -> list[int]:
    return [row["id"] for row in await table_of(state)]


async def test_line_items_to_be_matched_are_listed_without_personal_data(demo: Demo, resources: Resources) -> None:
    item, registry, variant, slug = find_item(demo)
    [(claim,)] = demo.execute("SELECT attribution::text FROM registry_items WHERE id = %s", [item]).fetchall()
    said = [{"name": "_gift_message", "value": "All the best"}, {"name": "_purchaser_name", "value": "Grandma"}]
    await receive(
        demo,
        resources,
        line(1, variant, 2, str(uuid4()), title="Vase"),
        line(2, None, 1, claim, title="For Ada Byron"),
        line(3, variant, 1, "Ada Byron, gast@example.com"),
        note_attributes=said,
        name="#1001",
    )
    named = [{"name": "_registry", "value": slug}]
    await receive(demo, resources, line(4, 999), number=9002, name="Ada's order", note_attributes=named)
    state = await match_purchases(SHOP, return_state=True)
    assert state.message == f"{SHOP}: 4 line items to be matched; 0 items over-purchased."
    rows = await table_of(state)
    assert [(row["order"], row["order id"], row["product"], row["named"]) for row in rows] == [
        ("#1001", 9001, "Vase", "nothing that the shop has"),
        ("#1001", 9001, "custom, or deleted", f"item {item}"),
        ("#1001", 9001, "Vase", "nothing that the shop has"),
        ("unusual name", 9002, "Vase", f"registry {registry}"),
    ]
    assert str(item) in rows[0]["items of the variant"] or rows[0]["items of the variant"].count(",") == 4
    assert rows[3]["items of the variant"] == "none"
    await require_no_personal_data(state)


async def test_matched_line_item_counts_for_the_item_and_keeps_it_when_its_order_changes(
    demo: Demo, resources: Resources
) -> None:
    item, registry, variant, _ = find_item(demo)
    await receive(demo, resources, line(1, variant, 3, str(uuid4())))
    [unmatched] = await unmatched_ids(await match_purchases(SHOP, return_state=True))
    state = await match_purchases(SHOP, unmatched, item, return_state=True)
    assert str(state.message).startswith(f"{SHOP}: 0 line items to be matched")
    assert purchased(demo, item) == (3,)
    assert audited(demo) == [(1, "match-purchases", "purchase.matched", "registry", str(registry))]
    await receive(demo, resources, line(1, variant, 3, str(uuid4())) | {"current_quantity": 1}, second=9)
    assert purchased(demo, item) == (1,)
    assert is_refused(await match_purchases(SHOP, unmatched, item, return_state=True), "was matched or dismissed")


async def test_dismissed_line_item_is_no_longer_listed_and_can_be_matched(demo: Demo, resources: Resources) -> None:
    item, _, variant, _ = find_item(demo)
    await receive(demo, resources, line(1, variant, 1, str(uuid4())))
    [unmatched] = await unmatched_ids(await match_purchases(SHOP, return_state=True))
    state = await match_purchases(SHOP, unmatched, dismiss=True, return_state=True)
    assert str(state.message).startswith(f"{SHOP}: 0 line items to be matched")
    assert audited(demo) == [(1, "match-purchases", "purchase.dismissed", "line_item", str(unmatched))]
    assert is_refused(await match_purchases(SHOP, unmatched, dismiss=True, return_state=True), "dismissed before")
    assert purchased(demo, item) == (0,)
    await match_purchases(SHOP, unmatched, item, return_state=True)
    assert purchased(demo, item) == (1,)


async def test_refunded_line_item_is_not_listed_and_a_decision_makes_the_order_again(
    demo: Demo, resources: Resources
) -> None:
    *_, variant, _ = find_item(demo)
    await receive(demo, resources, line(1, variant, 1, str(uuid4())), line(2, variant, 1, str(uuid4())))
    [first, second] = await unmatched_ids(await match_purchases(SHOP, return_state=True))
    demo.execute("UPDATE unmatched_lines SET status = 'refunded' WHERE id = %s", [second])
    demo.execute("DELETE FROM orders")
    assert await unmatched_ids(await match_purchases(SHOP, return_state=True)) == [first]
    await match_purchases(SHOP, first, dismiss=True, return_state=True)
    assert demo.execute("SELECT order_id FROM orders").fetchall() == [(9001,)]


async def test_over_purchased_items_are_shown(demo: Demo, resources: Resources) -> None:
    item, registry, variant, _ = find_item(demo)
    [(claim,)] = demo.execute("SELECT attribution::text FROM registry_items WHERE id = %s", [item]).fetchall()
    await receive(demo, resources, line(1, variant, 1000, claim))
    state = await match_purchases(SHOP, return_state=True)
    [artifact] = await artifacts_of(state, "table")
    [row] = orjson.loads(str(artifact.data))
    assert (artifact.key, row["registry"], row["item"], row["purchased"]) == (
        "match-purchases-excess", registry, item, 1000,
    )  # fmt: skip


async def test_ids_of_other_shops_and_unknown_ids_are_refused(demo: Demo, resources: Resources) -> None:
    item, _, variant, _ = find_item(demo)
    foreign, *_ = find_item(demo, OTHER)
    await receive(demo, resources, line(1, variant, 1, str(uuid4())))
    [unmatched] = await unmatched_ids(await match_purchases(SHOP, return_state=True))
    refusals: list[tuple[str, dict[str, Any], str]] = [
        (SHOP, {"unmatched": unmatched, "item": foreign}, "no item with this id"),
        (SHOP, {"unmatched": unmatched, "item": 2**63 - 1}, "no item with this id"),
        (SHOP, {"unmatched": unmatched + 1, "item": item}, "no line item to be matched"),
        (OTHER, {"unmatched": unmatched, "item": foreign}, "no line item to be matched"),
        (OTHER, {"unmatched": unmatched, "dismiss": True}, "no line item to be matched"),
        (SHOP, {"unmatched": unmatched}, "unmatched needs either item or dismiss"),
        (SHOP, {"unmatched": unmatched, "item": item, "dismiss": True}, "unmatched needs either item or dismiss"),
        (SHOP, {"item": item}, "need unmatched"),
        (SHOP, {"dismiss": True}, "need unmatched"),
        (SHOP, {"unmatched": 0, "item": item}, "unmatched"),
    ]
    for shop, parameters, reason in refusals:
        state = await match_purchases(shop, **parameters, return_state=True)
        assert is_refused(state, reason), (parameters, state.message)
    assert await unmatched_ids(await match_purchases(SHOP, return_state=True)) == [unmatched]
    assert demo.execute("SELECT FROM purchases").fetchall() == []
    assert audited(demo) == []
