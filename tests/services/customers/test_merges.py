"""Merges of customers: any order of them and of orders ends the same."""

import asyncio
from itertools import permutations
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, problem
from tests.support.erased_person import receive
from tests.support.waiting import WAITING, wait_until
from tests.support.webhooks import apply, line, message, order
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.customers.webhooks import handle_merges
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings
from wishcraft.store.customers import lock_name
from wishcraft.store.shops import ShopRef

A, B, C = 7_500_000_000_001, 7_500_000_000_002, 7_500_000_000_003


def merged(deleted: int, kept: int, **values: object) -> dict[str, Any]:
    return {
        "admin_graphql_api_customer_kept_id": f"gid://shopify/Customer/{kept}",
        "admin_graphql_api_customer_deleted_id": f"gid://shopify/Customer/{deleted}",
        "admin_graphql_api_job_id": None,
        "status": "completed",
        "errors": [],
        **values,
    }


def ordered(number: int, customer: int, claim: str, variant_id: int | None) -> dict[str, Any]:
    return order([line(number, variant_id, claim=claim)], number=number, customer={"id": customer})


@pytest.fixture
def item(demo: Demo) -> tuple[str, int]:
    """Attribution and variant of an item."""
    row = demo.execute(
        "SELECT attribution::text, variant_id FROM registry_items WHERE shop_id = 1 ORDER BY id"
    ).fetchone()
    assert row
    return row


def purchasers(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute(
        """SELECT order_id, purchaser_id FROM purchases WHERE order_id < 100
           UNION ALL SELECT order_id, purchaser_id FROM unmatched_lines ORDER BY order_id"""
    ).fetchall()


async def test_any_order_of_merges_and_orders_ends_the_same(
    demo: Demo, resources: Resources, shop: ShopRef, item: tuple[str, int]
) -> None:
    first = demo.execute("SELECT min(id), max(id) FROM registries WHERE shop_id = 1").fetchone()
    assert first
    steps: list[tuple[str, dict[str, Any]]] = [
        ("customers/merge", merged(A, B)),
        ("customers/merge", merged(B, C)),
        ("orders/create", ordered(11, A, *item)),
        ("orders/create", ordered(12, B, "unknown", 1)),
    ]
    for steps_in_order in permutations(steps):
        demo.execute("DELETE FROM purchases WHERE order_id < 100; TRUNCATE unmatched_lines, merged_customers, orders")
        demo.execute("UPDATE registries SET customer_id = %s WHERE id = %s", [A, first[0]])
        demo.execute("UPDATE registries SET customer_id = %s WHERE id = %s", [B, first[1]])
        for topic, payload in steps_in_order:
            await apply(resources, shop, HANDLERS[topic], [message(topic, payload)])
        assert purchasers(demo) == [(11, C), (12, C)], [payload for _, payload in steps_in_order]
        owners = "SELECT customer_id FROM registries WHERE id = ANY(%s)"
        assert demo.execute(owners, [list(first)]).fetchall() == [(C,), (C,)]
        known = "SELECT deleted_id, kept_id FROM merged_customers ORDER BY 1"
        assert demo.execute(known).fetchall() == [(A, C), (B, C)]


async def test_kept_customer_owns_the_registry_at_once(
    demo: Demo, resources: Resources, shop: ShopRef, emma: Shopper, hugo: Shopper
) -> None:
    slug = await emma.create(visibility="private")
    assert emma.customer_id
    assert hugo.customer_id
    registry_id = (await emma.read(slug)).json()["id"]
    payload = merged(emma.customer_id, hugo.customer_id)
    for ref in (slug, str(registry_id)):
        assert (await emma.read(ref)).status_code == 200
        assert (await hugo.read(ref)).status_code == 404
    await apply(resources, shop, handle_merges, [message("customers/merge", payload)])
    for ref in (slug, str(registry_id)):
        assert (await hugo.read(ref)).json()["registrant"]["first_name"] == "Emma"
        assert (await emma.read(ref)).status_code == 404
    [(owner,)] = demo.execute("SELECT customer_id FROM registries WHERE slug = %s", [slug]).fetchall()
    assert owner == hugo.customer_id


async def test_customer_who_was_merged_creates_no_registry(
    demo: Demo, resources: Resources, shop: ShopRef, settings: Settings, emma: Shopper, hugo: Shopper
) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as merge:
        merge.execute("INSERT INTO locks (name) VALUES (%s)", [lock_name(shop.id, emma.customer_id or 0)])
        creation = asyncio.create_task(emma.send("POST", "/api/registries", WEDDING))
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,))
        merge.execute("INSERT INTO merged_customers VALUES (%s, %s, %s)", [shop.id, emma.customer_id, hugo.customer_id])
        merge.execute("DELETE FROM locks")
    assert problem(await creation) == (409, "conflict")
    assert problem(await emma.send("POST", "/api/registries", WEDDING)) == (409, "conflict")
    assert await hugo.create()


async def test_creation_that_is_repeated_after_a_merge_makes_no_second_registry(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo, resources: Resources, shop: ShopRef, emma: Shopper,
    hugo: Shopper,
) -> None:  # fmt: skip
    async def create(sender: Shopper, *, by_server: bool) -> httpx.Response:
        if not by_server:
            return await sender.send("POST", "/api/registries", private, idempotency_key="one")
        headers = {**key, "X-Customer-Id": str(sender.customer_id), "Idempotency-Key": "one"}
        return await client.post("/api/registries", json=private, headers=headers)

    private = WEDDING | {"visibility": "private"}
    slugs = [(await create(emma, by_server=by_server)).json()["slug"] for by_server in (False, True)]
    payload = merged(emma.customer_id or 0, hugo.customer_id or 0)
    await apply(resources, shop, handle_merges, [message("customers/merge", payload)])
    for by_server, slug in zip((False, True), slugs, strict=True):
        assert problem(await create(emma, by_server=by_server)) == (409, "conflict")
        repeated = await create(hugo, by_server=by_server)
        assert (repeated.status_code, repeated.json()["slug"]) == (201, slug)
    owned = demo.execute(
        "SELECT slug FROM registries WHERE customer_id = %s AND visibility = 'private'", [hugo.customer_id]
    )
    assert {slug for (slug,) in owned.fetchall()} == set(slugs)


@pytest.mark.parametrize("newer", ["emma", "hugo"])
async def test_newer_result_stays_if_merged_customers_used_the_same_idempotency_key(
    demo: Demo, resources: Resources, shop: ShopRef, emma: Shopper, hugo: Shopper, newer: str
) -> None:
    sender = {"emma": emma, "hugo": hugo}
    slugs = {}
    for name in sorted(sender, key=newer.__eq__):
        created = await sender[name].send("POST", "/api/registries", WEDDING, idempotency_key="one")
        slugs[name] = created.json()["slug"]
    payload = merged(emma.customer_id or 0, hugo.customer_id or 0)
    await apply(resources, shop, handle_merges, [message("customers/merge", payload)])
    repeated = await hugo.send("POST", "/api/registries", WEDDING, idempotency_key="one")
    assert (repeated.status_code, repeated.json()["slug"]) == (201, slugs[newer])
    assert demo.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (1,)


async def test_repeated_creation_beside_a_merge_is_no_deadlock(
    demo: Demo, shop: ShopRef, settings: Settings, emma: Shopper
) -> None:
    first = await emma.send("POST", "/api/registries", WEDDING, idempotency_key="one")
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as merge:
        merge.execute("INSERT INTO locks (name) VALUES (%s)", [lock_name(shop.id, emma.customer_id or 0)])
        repeat = asyncio.create_task(emma.send("POST", "/api/registries", WEDDING, idempotency_key="one"))
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,))
        merge.execute("UPDATE idempotency_keys SET created = created")
        merge.execute("DELETE FROM locks")
    assert (await repeat).json()["slug"] == first.json()["slug"]


def test_purchases_of_a_customer_have_an_index(demo: Demo) -> None:
    """A merge holds the customer's registries: it must not read all purchases of the shop."""
    found = demo.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'purchases'").fetchall()
    assert any("(shop_id, purchaser_id) WHERE (purchaser_id IS NOT NULL)" in definition for (definition,) in found)


async def test_merge_beside_an_order_names_the_kept_customer(
    demo: Demo, resources: Resources, item: tuple[str, int]
) -> None:
    demo.execute("TRUNCATE webhook_events")
    numbers = range(20, 30)
    for number in numbers:
        demo.execute("TRUNCATE merged_customers")
        ids = [
            receive(demo, "orders/create", ordered(number, A, *item)),
            receive(demo, "customers/merge", merged(A, B)),
        ]
        shop = "maple-and-pine.myshopify.com"
        await asyncio.gather(*(process(resources, HANDLERS, shop, [row_id]) for row_id in ids))
    rows = demo.execute("SELECT order_id, purchaser_id FROM purchases WHERE order_id < 100 ORDER BY 1").fetchall()
    assert rows == [(number, B) for number in numbers]


@pytest.mark.parametrize("status", ["failed", "in progress", "requested", None])
async def test_merge_that_is_not_completed_changes_nothing(
    demo: Demo, resources: Resources, shop: ShopRef, status: str | None
) -> None:
    sent = message("customers/merge", merged(A, B, status=status, errors=[{"message": "Ada Byron"}]))
    assert (await apply(resources, shop, handle_merges, [sent]))[sent.id] == "ignored"
    assert demo.execute("SELECT FROM merged_customers").fetchall() == []


async def test_merge_after_a_reinstallation_that_is_not_opened_yet_counts(demo: Demo, resources: Resources) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled' WHERE id = 1")
    row_id = receive(demo, "customers/merge", merged(A, B))
    assert await process(resources, HANDLERS, "maple-and-pine.myshopify.com", [row_id]) == {"applied": 1}
    assert demo.execute("SELECT deleted_id, kept_id FROM merged_customers").fetchall() == [(A, B)]


async def test_merge_back_is_ignored(demo: Demo, resources: Resources, shop: ShopRef) -> None:
    sent = [message("customers/merge", merged(*pair)) for pair in ((A, B), (B, A), (C, C))]
    outcomes = await apply(resources, shop, handle_merges, sent)
    assert [outcomes[each.id] for each in sent] == ["applied", "ignored", "ignored"]
    assert demo.execute("SELECT deleted_id, kept_id FROM merged_customers").fetchall() == [(A, B)]


@pytest.mark.parametrize("field", ["deleted", "kept"])
@pytest.mark.parametrize("value", [None, 1, "", "1", "gid://shopify/Order/1", "gid://shopify/Customer/0", "x" * 9])
async def test_malformed_id_is_refused(resources: Resources, shop: ShopRef, field: str, value: object) -> None:
    payload = merged(A, B) | {f"admin_graphql_api_customer_{field}_id": value}
    with pytest.raises(PayloadInvalid, match=field):
        await handle_merges(resources, shop, [message("customers/merge", payload)])


async def test_customer_of_another_shop_is_not_merged(demo: Demo, resources: Resources, shop: ShopRef) -> None:
    demo.execute("UPDATE registries SET customer_id = %s WHERE shop_id = 2", [A])
    await apply(resources, shop, handle_merges, [message("customers/merge", merged(A, B))])
    assert demo.execute("SELECT DISTINCT customer_id FROM registries WHERE shop_id = 2").fetchall() == [(A,)]
    outcomes = await apply(resources, shop, handle_orders, [message("orders/create", ordered(31, A, "x", 1))])
    assert set(outcomes.values()) == {"applied"}
