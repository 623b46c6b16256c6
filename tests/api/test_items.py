import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from psycopg import Connection
from redis.asyncio import Redis

from api.schemas.responses import Item, OwnRegistryAnswer, RegistryAnswer
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, Variant, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.api import SHOP, WAYS, Shopper, problem
from wishcraft.cache import keys
from wishcraft.services.products import reader
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.settings import Settings
from wishcraft.shopify import pauses

Demo = Connection[tuple[Any, ...]]
PATH = "/api/registries"


@pytest.fixture
def shopify(simulator: Simulator) -> SimulatedShop:
    """The shop in the Shopify simulator."""
    return simulator.shops[SHOP]


@pytest.fixture
def variants(shopify: SimulatedShop) -> list[Variant]:
    """One variant of each product of the shop."""
    found = [shopify.inventory.find(number) for number in shopify.inventory.variant_ids()]
    return list({variant.product_id: variant for variant in found if variant}.values())


@pytest.fixture
async def slug(emma: Shopper) -> str:
    """A registry of Emma's, without items."""
    return await emma.create()


async def add(
    emma: Shopper, slug: str, variant: Variant, body: dict[str, object] | None = None, **headers: str
) -> Item:
    """Add the variant; returns the item as guests see it."""
    new_item = {"variant_id": variant.variant_id, **(body or {})}
    answer = await emma.send("POST", f"{PATH}/{slug}/items", new_item, **headers)
    assert answer.status_code == 201, answer.text
    shown = OwnRegistryAnswer.model_validate_json(answer.content).items
    return next(item for item in shown if item.variant_id == variant.variant_id)


async def items(emma: Shopper, slug: str) -> list[Item]:
    """The registry's items as guests see them."""
    return OwnRegistryAnswer.model_validate_json((await emma.read(slug)).content).items


def rows(demo: Demo, slug: str) -> list[tuple[Any, ...]]:
    """The stored items, hidden ones included, and the registry's version."""
    return demo.execute(
        """SELECT r.version, i.* FROM registries r LEFT JOIN registry_items i ON i.registry_id = r.id
           WHERE r.slug = %s ORDER BY i.id""",
        [slug],
    ).fetchall()


def buy(demo: Demo, item_id: int, quantity: int = 1) -> None:
    """Let a guest buy the item."""
    demo.execute(
        """INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity,
                                  unit_price, status)
           SELECT shop_id, registry_id, id, 1, -id, '#1', %s, price, 'confirmed' FROM registry_items WHERE id = %s""",
        [quantity, item_id],
    )
    demo.execute("UPDATE registry_items SET quantity_purchased = %s WHERE id = %s", [quantity, item_id])


async def test_item_is_added_with_shopifys_current_data(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo, settings: Settings
) -> None:
    variant = variants[0]
    variant.price, variant.compare_at_price = Decimal("12.30"), Decimal(15)
    variant.quantity, variant.tracked = 3, True
    item = await add(emma, slug, variant, {"quantity": 2, "priority": "high", "notes": " In green "})
    assert (item.product_title, item.variant_title) == (variant.product_title, variant.variant_title)
    assert (item.product_id, item.handle) == (variant.product_id, variant.handle)
    assert (item.price, item.compare_at_price) == ("12.30", "15.00")
    assert (item.available, item.stock, item.status) == (True, "low", "active")
    assert item.image == f"{settings.shopify_origin.format(shop=SHOP)}/images/{variant.handle}.svg"
    assert (item.wanted, item.purchased, item.priority, item.notes) == (2, 0, "high", "In green")
    kept = demo.execute(
        """SELECT shop_id, inventory_item_id, currency, inventory_quantity, now() - inventory_observed_at < '1 minute'
           FROM registry_items WHERE id = %s""",
        [item.id],
    ).fetchone()
    assert kept == (1, variant.inventory_item_id, "USD", 3, True)


async def test_item_is_added_by_shopifys_global_id(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    number = variants[0].variant_id
    body = {"variant_id": f"gid://shopify/ProductVariant/{number}"}
    answer = await emma.send("POST", f"{PATH}/{slug}/items", body)
    assert answer.status_code == 201, answer.text
    assert [item.variant_id for item in await items(emma, slug)] == [number]


async def test_sold_out_variant_is_added_as_out_of_stock(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    variants[0].quantity, variants[0].tracked = 0, True
    variants[0].policy = type(variants[0].policy).DENY
    item = await add(emma, slug, variants[0])
    assert (item.available, item.stock, item.status) == (False, "out", "out_of_stock")


async def test_items_are_listed_in_order_of_addition_and_summed_in_totals(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant]
) -> None:
    added = [(await add(emma, slug, variant, {"quantity": 2})).id for variant in variants[2::-1]]
    shown = RegistryAnswer.model_validate_json((await guest.read(slug)).content)
    assert [item.id for item in shown.items] == added
    assert (shown.progress.wanted, shown.progress.percent) == (6, 0)
    assert Decimal(shown.totals.wanted) == sum(2 * variant.price for variant in variants[:3])


async def test_variant_that_the_shop_does_not_sell_is_refused(
    emma: Shopper, slug: str, shopify: SimulatedShop, variants: list[Variant], simulator: Simulator, demo: Demo
) -> None:
    draft, deleted = variants[0], variants[1]
    shopify.inventory.change(draft, VariantChange({}, ProductStatus.DRAFT))
    shopify.inventory.change(deleted, VariantChange({"deleted": True}))
    others = simulator.shops["lumiere-maison.myshopify.com"].inventory.variant_ids()[0]
    before = rows(demo, slug)
    for number in (1, 2**63 - 1, draft.variant_id, deleted.variant_id, others):
        answer = await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": number})
        assert problem(answer) == (422, "invalid-request"), number
        assert answer.json()["detail"] == "The shop sells no such variant."
    assert rows(demo, slug) == before


async def test_variant_that_cannot_be_stored_is_refused_and_a_nul_character_is_removed(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    dear, odd = variants[:2]
    dear.price, odd.product_title = Decimal("1E+11"), "A \0vase"
    before = rows(demo, slug)
    answer = await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": dear.variant_id})
    assert problem(answer) == (422, "invalid-request")
    assert "out of range" in answer.json()["detail"]
    assert rows(demo, slug) == before
    assert (await add(emma, slug, odd)).product_title == "A vase"


async def test_quantity_is_changed_by_the_name_of_answers_or_of_creation(
    emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    item = await add(emma, slug, variants[0])
    path = f"{PATH}/{slug}/items/{item.id}"
    for body, wanted in (({"wanted": 4}, 4), ({"quantity": 5}, 5)):
        answer = await emma.send("PATCH", path, body, if_match="*")
        assert answer.json()["items"][0]["wanted"] == wanted
    both = await emma.send("PATCH", path, {"wanted": 6, "quantity": 6}, if_match="*")
    assert problem(both) == (422, "invalid-request")


async def test_audit_log_names_the_item_and_the_changed_fields(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    body = {"notes": "Very secret", "quantity": 3, "priority": item.priority}
    changed = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", body, if_match="*")
    again = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", body, if_match=changed.headers["etag"])
    assert (again.status_code, again.headers["etag"], again.json()) == (200, changed.headers["etag"], changed.json())
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    query = "SELECT action, metadata FROM audit_logs WHERE actor LIKE 'customer:%' AND action LIKE 'item.%' ORDER BY id"
    assert demo.execute(query).fetchall() == [
        ("item.added", {"item": item.id, "variant": variants[0].variant_id}),
        ("item.changed", {"item": item.id, "fields": ["notes", "quantity_wanted"]}),
        ("item.removed", {"item": item.id}),
    ]


async def test_invalid_item_is_refused(
    emma: Shopper, slug: str, variants: list[Variant], shopify: SimulatedShop
) -> None:
    new_item = {"variant_id": variants[0].variant_id}
    for body in ({}, {"variant_id": 0}, {"variant_id": 2**63}, {"variant_id": "x"}, new_item | {"quantity": 0},
                 new_item | {"quantity": 1001}, new_item | {"priority": "urgent"}, new_item | {"notes": "x" * 501},
                 new_item | {"notes": "\x00"}, new_item | {"price": 1}):  # fmt: skip
        assert problem(await emma.send("POST", f"{PATH}/{slug}/items", body)) == (422, "invalid-request"), body
    assert shopify.counters.requests == 0


async def test_duplicate_variant_is_refused_with_the_existing_item(
    emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    item = await add(emma, slug, variants[0])
    answer = await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": variants[0].variant_id})
    assert problem(answer) == (409, "conflict")
    assert str(item.id) in answer.json()["detail"]
    assert [each.id for each in await items(emma, slug)] == [item.id]


async def test_only_the_registrant_adds_items_and_others_cost_no_shopify_request(
    emma: Shopper, hugo: Shopper, guest: Shopper, slug: str, variants: list[Variant], shopify: SimulatedShop
) -> None:
    new_item = {"variant_id": variants[0].variant_id}
    for shopper in (hugo, guest):
        assert problem(await shopper.send("POST", f"{PATH}/{slug}/items", new_item)) == (403, "not-allowed")
    await emma.send("PATCH", f"{PATH}/{slug}", {"visibility": "private"}, if_match="*")
    for each in (slug, "nothing-here"):
        assert problem(await hugo.send("POST", f"{PATH}/{each}/items", new_item)) == (404, "not-found")
    assert await items(emma, slug) == []
    assert shopify.counters.requests == 0


async def test_full_registry_refuses_another_item(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    demo.execute("""UPDATE shops SET settings = settings || '{"max_items_per_registry": 2}' WHERE id = 1""")
    first = await add(emma, slug, variants[0])
    new_items = [{"variant_id": variant.variant_id} for variant in variants[1:4]]
    answers = await asyncio.gather(*(emma.send("POST", f"{PATH}/{slug}/items", new_item) for new_item in new_items))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert problem(await emma.send("POST", f"{PATH}/{slug}/items", new_items[0]))[0] == 409
    buy(demo, first.id)
    await emma.send("DELETE", f"{PATH}/{slug}/items/{first.id}", if_match="*")  # hidden items do not count
    await add(emma, slug, variants[5])
    answer = await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": variants[0].variant_id})
    assert problem(answer) == (409, "limit-reached")


async def test_item_change_keeps_the_fields_left_out(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    item = await add(emma, slug, variants[0], {"quantity": 2, "notes": "In green"})
    etag = (await emma.read(slug)).headers["etag"]
    for change, shown in (
        ({"quantity": 4}, {"wanted": 4, "remaining": 4}),
        ({"notes": "In blue"}, {"notes": "In blue"}),
        ({"priority": "low"}, {"priority": "low"}),
    ):
        answer = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", change, if_match=etag)
        assert answer.status_code == 200
        after = OwnRegistryAnswer.model_validate_json(answer.content).items[0]
        assert after == item.model_copy(update=shown)
        item, etag = after, answer.headers["etag"]


async def test_answer_to_a_change_is_the_refilled_entry_and_reads_nothing(
    emma: Shopper, slug: str, variants: list[Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await add(emma, slug, variants[0])
    etag = (await emma.read(slug)).headers["ETag"]

    async def read(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(RegistryReader, "read", read)
        answer = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", {"notes": "blue"}, if_match=etag)
    read_again = await emma.read(slug)
    assert answer.content == read_again.content
    for header in ("ETag", "X-Cache", "Cache-Control"):
        assert answer.headers[header] == read_again.headers[header]


async def test_items_are_reordered(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    first, second = [await add(emma, slug, variant) for variant in variants[:2]]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{first.id}", {"display_order": 9}, if_match="*")
    assert [item.id for item in await items(emma, slug)] == [second.id, first.id]
    third = await add(emma, slug, variants[2])
    assert [item.id for item in await items(emma, slug)] == [second.id, first.id, third.id]


async def test_item_change_and_removal_require_the_etag(
    emma: Shopper, hugo: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    etag = (await emma.read(slug)).headers["etag"]
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match="*")
    path, before = f"{PATH}/{slug}/items/{item.id}", rows(demo, slug)
    for method, body in (("PATCH", {"quantity": 3}), ("PATCH", {}), ("DELETE", None)):
        assert problem(await emma.send(method, path, body))[0] == 428
        assert problem(await emma.send(method, path, body, if_match=etag)) == (412, "changed-since")
        assert problem(await hugo.send(method, path, body, if_match="*")) == (403, "not-allowed")
    assert rows(demo, slug) == before


async def test_item_of_another_registry_is_not_reached_through_ones_own(
    emma: Shopper, hugo: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    own = await hugo.create()
    before = rows(demo, slug), rows(demo, own)
    for method, body in (("PATCH", {"quantity": 3}), ("PATCH", {}), ("DELETE", None)):
        for number in (item.id, 1, 2**63 - 1):
            answer = await hugo.send(method, f"{PATH}/{own}/items/{number}", body, if_match="*")
            assert problem(answer) == (404, "not-found")
    assert (rows(demo, slug), rows(demo, own)) == before


async def test_item_without_purchases_is_deleted(emma: Shopper, slug: str, variants: list[Variant], demo: Demo) -> None:
    gone, left = [await add(emma, slug, variant) for variant in variants[:2]]
    answer = await emma.send("DELETE", f"{PATH}/{slug}/items/{gone.id}", if_match="*")
    assert answer.status_code == 200
    assert [item["id"] for item in answer.json()["items"]] == [left.id]
    assert [row[1] for row in rows(demo, slug)] == [left.id]
    again = await emma.send("DELETE", f"{PATH}/{slug}/items/{gone.id}", if_match="*")
    assert problem(again) == (404, "not-found")


async def test_item_with_purchases_is_hidden(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    buy(demo, item.id)
    answer = await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    assert answer.json()["items"] == (await guest.read(slug)).json()["items"] == []
    kept = demo.execute("SELECT status, quantity_purchased FROM registry_items WHERE id = %s", [item.id]).fetchone()
    assert kept == ("hidden", 1)
    assert demo.execute("SELECT count(*) FROM purchases WHERE item_id = %s", [item.id]).fetchone() == (1,)
    for method, body in (("PATCH", {"quantity": 3}), ("DELETE", None)):
        answer = await emma.send(method, f"{PATH}/{slug}/items/{item.id}", body, if_match="*")
        assert problem(answer) == (404, "not-found")


async def test_hidden_item_added_again_is_shown_with_shopifys_current_data(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo, redis: Redis
) -> None:
    item = await add(emma, slug, variants[0], {"notes": "In green"})
    buy(demo, item.id, 2)
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    variants[0].price, variants[0].handle = Decimal("1.23"), "renamed"
    await redis.delete(f"{keys.of_shop(1).variant_prefix}{variants[0].variant_id}")
    again = await add(emma, slug, variants[0], {"quantity": 5})
    assert (again.id, again.wanted, again.purchased, again.remaining) == (item.id, 5, 2, 3)
    assert (again.notes, again.price, str(again.image)[-11:]) == ("", "1.23", "renamed.svg")


@pytest.mark.parametrize(
    "kind",
    [FaultKind.UNAVAILABLE, FaultKind.TOO_MANY_REQUESTS, FaultKind.THROTTLE, FaultKind.MALFORMED,
     FaultKind.HANG, FaultKind.EXPIRED_TOKEN],
)  # fmt: skip
async def test_unusable_answer_of_shopify_adds_nothing_and_is_answered_503(
    emma: Shopper,
    slug: str,
    variants: list[Variant],
    shopify: SimulatedShop,
    demo: Demo,
    kind: FaultKind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = rows(demo, slug)
    shopify.faults.set(Fault(kind, remaining=None))
    new_item = {"variant_id": variants[0].variant_id}
    with monkeypatch.context() as patch:
        patch.setattr(reader, "SHOPIFY_SECONDS", 0.5)
        patch.setattr(pauses, "FIRST_SECONDS", 0.0)
        answer = await emma.send("POST", f"{PATH}/{slug}/items", new_item, idempotency_key="one")
    assert problem(answer) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "shpat" not in answer.text
    assert rows(demo, slug) == before
    shopify.faults.set(Fault(kind, remaining=0))
    shopify.bucket.enabled = False
    assert await add(emma, slug, variants[0], idempotency_key="one")


async def test_repeated_addition_adds_once_also_with_if_match_and_without_shopify(
    emma: Shopper, slug: str, variants: list[Variant], shopify: SimulatedShop, demo: Demo
) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    new_item = {"variant_id": variants[0].variant_id}
    once = await emma.send("POST", f"{PATH}/{slug}/items", new_item, idempotency_key="one", if_match=etag)
    shopify.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=None))
    again = await emma.send("POST", f"{PATH}/{slug}/items", new_item, idempotency_key="one", if_match=etag)
    assert [once.status_code, again.status_code] == [201, 201]
    assert (again.content, again.headers["etag"]) == (once.content, once.headers["etag"])
    added = demo.execute("SELECT count(*) FROM audit_logs WHERE action = 'item.added' AND actor <> 'sandbox'")
    assert added.fetchone() == (1,)


@pytest.mark.parametrize("is_conditional", [False, True])
async def test_concurrent_additions_with_one_key_add_one_item_and_change_the_registry_once(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo, is_conditional: bool
) -> None:
    condition = {"if_match": (await emma.read(slug)).headers["etag"]} if is_conditional else {}
    find_version = "SELECT version FROM registries WHERE slug = %s"
    [(before,)] = demo.execute(find_version, [slug])
    new_item = {"variant_id": variants[0].variant_id}
    answers = await asyncio.gather(
        *(emma.send("POST", f"{PATH}/{slug}/items", new_item, idempotency_key="one", **condition) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len(await items(emma, slug)) == 1
    assert demo.execute(find_version, [slug]).fetchall() == [(before + 1,)]
    added = demo.execute("SELECT count(*) FROM audit_logs WHERE action = 'item.added' AND actor <> 'sandbox'")
    assert added.fetchone() == (1,)


async def test_idempotency_key_of_another_item_or_registry_is_refused(
    emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    await add(emma, slug, variants[0], idempotency_key="one")
    for path, variant in ((slug, variants[1]), (await emma.create(), variants[0])):
        new_item = {"variant_id": variant.variant_id}
        answer = await emma.send("POST", f"{PATH}/{path}/items", new_item, idempotency_key="one")
        assert problem(answer) == (409, "conflict")
    assert len(await items(emma, slug)) == 1


async def test_if_match_is_optional_for_a_new_item(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    etag = (await emma.read(slug)).headers["etag"]
    await add(emma, slug, variants[0])
    new_item = {"variant_id": variants[1].variant_id}
    stale = await emma.send("POST", f"{PATH}/{slug}/items", new_item, if_match=etag)
    assert problem(stale) == (412, "changed-since")
    await add(emma, slug, variants[1], if_match=(await emma.read(slug)).headers["etag"])


async def test_next_read_shows_a_change_of_items_on_every_path(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    async def wanted() -> list[list[int]]:
        answers = [await client.get(f"{PATH}/{slug}", headers=key | way) for way in WAYS]
        return [[item["wanted"] for item in answer.json()["items"]] for answer in answers]

    assert await wanted() == [[], []]
    item = await add(emma, slug, variants[0])
    assert await wanted() == [[1], [1]]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", {"quantity": 7}, if_match="*")
    assert await wanted() == [[7], [7]]
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    assert await wanted() == [[], []]
