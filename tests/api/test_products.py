"""Storefronts look up products by their variants; known ones are added without a request to Shopify."""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from redis.asyncio import Redis

from api.schemas.responses import OwnRegistryAnswer, ProductList
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, Variant, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import Shopper, app_state_of, problem
from wishcraft.cache import keys
from wishcraft.domain.cached_registry import Quota
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.variants.reader import QUERIES, VariantLimits, VariantReader
from wishcraft.shopify.pauses import Pauses
from wishcraft.store.shops import ShopRef

PATH = "/api/products"
ITEMS = "/api/registries/{}/items"


@pytest.fixture
def variants(shopify: SimulatedShop) -> list[Variant]:
    """The shop's first variants."""
    return [each for number in shopify.inventory.variant_ids()[:12] if (each := shopify.inventory.find(number))]


def joined(variants: list[Variant], prefix: str = "") -> str:
    return ",".join(f"{prefix}{variant.variant_id}" for variant in variants)


def shown(answer: httpx.Response) -> ProductList:
    assert answer.status_code == 200, answer.text
    return ProductList.model_validate_json(answer.content)


async def test_look_up_answers_what_an_item_would_show_in_the_requested_order(
    emma: Shopper, variants: list[Variant], shopify: SimulatedShop
) -> None:
    slug = await emma.create()
    answer = await emma.send("GET", f"{PATH}?ids={joined(variants[9::-1])},1")
    found = shown(answer)
    assert (found.currency, found.unknown_ids, answer.headers["x-cache"]) == ("USD", [1], "miss")
    assert [each.variant_id for each in found.variants] == [each.variant_id for each in variants[9::-1]]
    assert shopify.counters.requests == 1
    for each in found.variants:
        added = await emma.send("POST", ITEMS.format(slug), {"variant_id": each.variant_id})
        assert added.status_code == 201, added.text
        item = OwnRegistryAnswer.model_validate_json(added.content).items[-1]
        assert {name: getattr(item, name) for name in type(each).model_fields} == each.model_dump()
    assert shopify.counters.requests == 1  # the ten additions cost none


async def test_ten_known_products_are_added_to_another_registry_without_a_request(
    emma: Shopper, hugo: Shopper, variants: list[Variant], shopify: SimulatedShop
) -> None:
    first, second = await emma.create(), await hugo.create()
    for shopper, slug in ((emma, first), (hugo, second)):
        for variant in variants[:10]:
            added = await shopper.send("POST", ITEMS.format(slug), {"variant_id": variant.variant_id})
            assert added.status_code == 201, added.text
        assert shopify.counters.requests == 10
    assert (await emma.read(first)).json()["items"][0]["price"] == (await emma.read(second)).json()["items"][0]["price"]


async def test_ten_products_that_the_sync_has_read_are_added_without_a_request(
    emma: Shopper, client: httpx.AsyncClient, demo: Demo, shop: ShopRef, shopify: SimulatedShop
) -> None:
    found = demo.execute(
        """SELECT DISTINCT ON (variant_id) variant_id, image
           FROM registry_items i JOIN registries r ON r.id = registry_id
           WHERE i.shop_id = 1 AND r.status = 'active' AND i.status = 'active' ORDER BY 1, registry_id DESC LIMIT 10"""
    ).fetchall()
    await sync_shop(app_state_of(client).resources, shop)
    slug, requests = await emma.create(), shopify.counters.requests
    for number, image in found:
        added = await emma.send("POST", ITEMS.format(slug), {"variant_id": number})
        assert (added.status_code, added.json()["items"][-1]["image"]) == (201, image), added.text
    assert shopify.counters.requests == requests
    looked_up = await emma.send("GET", f"{PATH}?ids={found[0][0]}")  # its image is as old as the item
    assert (looked_up.headers["x-cache"], shopify.counters.requests) == ("miss", requests + 1)


async def test_added_item_has_the_time_of_its_reading_for_the_sync(
    emma: Shopper, variants: list[Variant], demo: Demo, client: httpx.AsyncClient
) -> None:
    slug, number = await emma.create(), variants[0].variant_id
    await emma.send("GET", f"{PATH}?ids={number}")
    facts = await app_state_of(client).resources.variants.get(1, [number])
    await emma.send("POST", ITEMS.format(slug), {"variant_id": number})
    query = """SELECT inventory_observed_at FROM registry_items i JOIN registries r ON r.id = i.registry_id
               WHERE r.slug = %s"""
    assert demo.execute(query, [slug]).fetchone() == (facts[number].observed_at,)


async def test_item_shown_again_keeps_a_reading_that_is_newer_than_the_known_one(
    emma: Shopper, variants: list[Variant], demo: Demo
) -> None:
    slug, number = await emma.create(), variants[0].variant_id
    item = (await emma.send("POST", ITEMS.format(slug), {"variant_id": number})).json()["items"][0]
    demo.execute(
        """UPDATE registry_items SET status = 'hidden', price = 1.23, available = false, notes = 'old',
           inventory_observed_at = now() + '1 minute' WHERE id = %s""",
        [item["id"]],
    )
    again = (await emma.send("POST", ITEMS.format(slug), {"variant_id": number, "quantity": 3})).json()["items"][0]
    assert (again["id"], again["price"], again["status"]) == (item["id"], "1.23", "out_of_stock")
    assert (again["wanted"], again["notes"]) == (3, "")


async def test_ids_are_numbers_or_global_ids_with_repetitions_ignored(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, variants: list[Variant]
) -> None:
    first, second = variants[:2]
    gid = "gid://shopify/ProductVariant/"
    expected = [first.variant_id, second.variant_id]
    for ids in (joined(variants[:2]), joined(variants[:2], gid), f"{first.variant_id}, {joined(variants[:2], gid)}"):
        for answer in (
            await emma.send("GET", f"{PATH}?ids={ids}"),
            await client.get(PATH, params={"ids": ids}, headers=key),
        ):
            assert [each.variant_id for each in shown(answer).variants] == expected
    repeated = await client.get(PATH, params={"ids": [first.variant_id, f"{gid}{second.variant_id}"]}, headers=key)
    assert [each.variant_id for each in shown(repeated).variants] == expected


@pytest.mark.parametrize(
    "ids",
    ["", ",", "1,", "0", "-1", "1.5", "x", str(2**63), "9" * 40, "gid://shopify/Product/1", "gid://shopify/ProductVariant/",
     "gid://shopify/ProductVariant/1?x=2", "\u0661", "1;2", "\x00", ",".join(map(str, range(1, 52)))],
)  # fmt: skip
async def test_other_ids_are_refused_without_a_request_to_shopify(
    client: httpx.AsyncClient, key: dict[str, str], shopify: SimulatedShop, ids: str
) -> None:
    answer = await client.get(PATH, params={"ids": ids}, headers=key)
    assert problem(answer) == (422, "invalid-request")
    assert "ids" in answer.json()["detail"]
    assert shopify.counters.requests == 0


async def test_missing_ids_are_refused(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    assert problem(await client.get(PATH, headers=key)) == (422, "invalid-request")


async def test_fifty_variants_cost_one_request(emma: Shopper, shopify: SimulatedShop) -> None:
    wanted = shopify.inventory.variant_ids()[:50]
    answer = await emma.send("GET", f"{PATH}?ids={','.join(map(str, wanted))}")
    assert [each.variant_id for each in shown(answer).variants] == wanted
    assert shopify.counters.requests == 1


async def test_drafts_and_deleted_and_others_variants_are_unknown(
    emma: Shopper, variants: list[Variant], shopify: SimulatedShop, simulator: Simulator
) -> None:
    draft, deleted, sold = variants[0], variants[5], variants[11]
    shopify.inventory.change(draft, VariantChange({}, ProductStatus.DRAFT))
    shopify.inventory.change(deleted, VariantChange({"deleted": True}))
    others = simulator.shops["lumiere-maison.myshopify.com"].inventory.variant_ids()[0]
    wanted = [draft.variant_id, deleted.variant_id, sold.variant_id, others]
    for _ in range(2):  # from Shopify, and from Redis
        answer = await emma.send("GET", f"{PATH}?ids={','.join(map(str, wanted))}")
        assert shown(answer).unknown_ids == [draft.variant_id, deleted.variant_id, others]
        assert [each.variant_id for each in shown(answer).variants] == [sold.variant_id]
        assert draft.product_title not in answer.text
    assert shopify.counters.requests == 1


async def test_guests_log_in_first_and_servers_need_no_customer(
    client: httpx.AsyncClient, guest: Shopper, key: dict[str, str], variants: list[Variant], shopify: SimulatedShop
) -> None:
    query = f"{PATH}?ids={variants[0].variant_id}"
    assert problem(await guest.send("GET", query)) == (403, "not-allowed")
    assert problem(await client.get(query)) == (401, "unauthorized")
    assert shopify.counters.requests == 0
    assert shown(await client.get(query, headers=key)).variants


async def test_unchanged_answer_is_304_and_pages_may_keep_it_for_a_minute(
    emma: Shopper, variants: list[Variant]
) -> None:
    query = f"{PATH}?ids={joined(variants[:2])}"
    first = await emma.send("GET", query)
    again = await emma.send("GET", query, if_none_match=first.headers["etag"])
    assert (again.status_code, again.content, again.headers["x-cache"]) == (304, b"", "hit")
    for answer in (first, again):
        assert answer.headers["cache-control"] == "private, max-age=60"
    other = await emma.send("GET", f"{PATH}?ids={variants[0].variant_id}", if_none_match=first.headers["etag"])
    assert other.status_code == 200
    head = await emma.send("HEAD", query)
    assert (head.status_code, head.headers["etag"], head.content) == (200, first.headers["etag"], b"")


async def test_stock_follows_the_shops_threshold_at_once(emma: Shopper, variants: list[Variant], demo: Demo) -> None:
    variants[0].quantity, variants[0].tracked = 7, True
    query = f"{PATH}?ids={variants[0].variant_id}"
    assert shown(await emma.send("GET", query)).variants[0].stock == "in_stock"
    demo.execute("""UPDATE shops SET settings = settings || '{"low_stock_threshold": 8}' WHERE id = 1""")
    assert shown(await emma.send("GET", query)).variants[0].stock == "low"


async def test_unusable_answer_of_shopify_is_503_unless_older_facts_are_known(
    emma: Shopper,
    variants: list[Variant],
    shopify: SimulatedShop,
    redis: Redis,
    client: httpx.AsyncClient,
) -> None:
    number = variants[0].variant_id
    app_state = app_state_of(client)
    products = app_state.resources.variants
    await emma.send("GET", f"{PATH}?ids={number}")
    known = (await products.get(1, [number]))[number]
    shopify.faults.set(Fault(FaultKind.MALFORMED, remaining=None))
    limits = VariantLimits(shopify_seconds=2)
    app_state.variants = VariantReader(app_state.resources, Pauses(5, first_seconds=10_000), limits)
    for answers in (False, True):  # the second time, Shopify would answer and is not asked
        if answers:
            shopify.faults.set(Fault(FaultKind.MALFORMED, remaining=0))
        other = await emma.send("GET", f"{PATH}?ids={joined(variants[:2])}")
        assert problem(other) == (503, "unavailable")
        assert (int(other.headers["retry-after"]) > 1_000) is answers
    await redis.delete(f"{keys.of_shop(1).variant_prefix}{number}")
    old = known._replace(observed_at=known.observed_at - timedelta(days=365))
    await products.store(1, await products.current_era(), {number: old}, Quota(10, 10**6))
    stale = await emma.send("GET", f"{PATH}?ids={number}")
    assert (shown(stale).variants[0].variant_id, stale.headers["x-cache"]) == (number, "stale")
    added = await emma.send("POST", ITEMS.format(await emma.create()), {"variant_id": number})
    assert added.status_code == 201


async def test_look_ups_of_made_up_ids_are_limited(client: httpx.AsyncClient, emma: Shopper) -> None:
    app_state_of(client).variants.limits = VariantLimits(queries=replace(QUERIES, quota=1, seconds=10**9))
    assert shown(await emma.send("GET", f"{PATH}?ids=1")).unknown_ids == [1]
    refused = await emma.send("GET", f"{PATH}?ids=2")
    assert problem(refused) == (429, "too-many-requests")
    assert int(refused.headers["retry-after"]) > 0
    assert shown(await emma.send("GET", f"{PATH}?ids=1")).unknown_ids == [1]


async def test_shop_at_its_quota_is_looked_up_all_the_same(
    emma: Shopper, variants: list[Variant], demo: Demo, client: httpx.AsyncClient
) -> None:
    demo.execute("""UPDATE shops SET settings = settings || '{"cache_quota_entries": 3}' WHERE id = 1""")
    for _ in range(2):
        answer = await emma.send("GET", f"{PATH}?ids={joined(variants[:5])}")
        assert (len(shown(answer).variants), answer.headers["x-cache"]) == (5, "miss")
    usage = (await app_state_of(client).resources.usage.read([1]))[1]
    assert (usage.entries, usage.products) == (0, 3)
