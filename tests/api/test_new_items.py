"""Additions of items."""

import asyncio
from decimal import Decimal

import httpx
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, Variant, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of, problem
from tests.support.items import PATH, add, buy, items, rows
from wishcraft.services.variants.reader import VariantLimits, VariantReader
from wishcraft.settings import Settings
from wishcraft.shopify.pauses import Pauses


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


@pytest.mark.parametrize("form", ["gid://shopify/ProductVariant/{}", "gid://shopify/ProductVariant/{}?a=1", "{}"])
async def test_item_is_added_by_its_id_as_a_text(emma: Shopper, slug: str, variants: list[Variant], form: str) -> None:
    number = variants[0].variant_id
    body = {"variant_id": form.format(number)}
    answer = await emma.send("POST", f"{PATH}/{slug}/items", body)
    assert answer.status_code == 201, answer.text
    assert [item.variant_id for item in await items(emma, slug)] == [number]


async def test_sold_out_variant_is_added_as_out_of_stock(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    variants[0].quantity, variants[0].tracked = 0, True
    variants[0].policy = type(variants[0].policy).DENY
    item = await add(emma, slug, variants[0])
    assert (item.available, item.stock, item.status) == (False, "out", "out_of_stock")


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


@pytest.mark.parametrize(
    "kind",
    [FaultKind.UNAVAILABLE, FaultKind.TOO_MANY_REQUESTS, FaultKind.THROTTLE, FaultKind.MALFORMED,
     FaultKind.HANG, FaultKind.EXPIRED_TOKEN],
)  # fmt: skip
async def test_unusable_answer_of_shopify_adds_nothing_and_is_answered_503(
    client: httpx.AsyncClient,
    emma: Shopper,
    slug: str,
    variants: list[Variant],
    shopify: SimulatedShop,
    demo: Demo,
    kind: FaultKind,
) -> None:
    before = rows(demo, slug)
    shopify.faults.set(Fault(kind, remaining=None))
    new_item = {"variant_id": variants[0].variant_id}
    app_state = app_state_of(client)
    limits = VariantLimits(shopify_seconds=0.5)
    app_state.variants = VariantReader(app_state.resources, Pauses(limits.shopify_seconds, first_seconds=0), limits)
    answer = await emma.send("POST", f"{PATH}/{slug}/items", new_item, idempotency_key="one")
    assert problem(answer) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "shpat" not in answer.text
    assert rows(demo, slug) == before
    shopify.faults.set(Fault(kind, remaining=0))
    shopify.bucket.enabled = False
    app_state.variants.limits = VariantLimits()
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
