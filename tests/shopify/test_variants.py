"""Variants are read as the shop has them, by id and in bulk."""

from contextlib import aclosing
from decimal import Decimal
from unittest.mock import AsyncMock

import httpx
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, VariantChange
from deployments.sandbox.shopify.product_payloads import product_payload
from tests.support.shopify_world import SHOP, World
from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.errors import (
    BulkOperationFailed,
    ShopifyAccessDenied,
    ShopifyQueryInvalid,
    ShopifyThrottled,
    ShopifyUnavailable,
)
from wishcraft.shopify.bulk import bulk_objects
from wishcraft.shopify.graphql_queries import DESCRIBE_VARIANTS
from wishcraft.shopify.ids import to_global
from wishcraft.shopify.nodes import MAX_IDS
from wishcraft.shopify.product_payloads import read_product
from wishcraft.shopify.retries import MAX_RETRIES
from wishcraft.shopify.variants import (
    MAX_DESCRIBED,
    POINTS_PER_VARIANT,
    bulk_read_variants,
    describe_variants,
    read_variants,
)


async def read_all_in_bulk(world: World) -> list[VariantReading]:
    return [reading async for reading in bulk_read_variants(world.client, SHOP)]


async def test_variant_is_read_as_the_shop_has_it(world: World) -> None:
    [number] = world.ids(1)
    variant = world.shop.inventory.find_or_deleted(number)
    assert variant
    fields = {"price": Decimal("12.5"), "compare_at_price": None, "quantity": -2, "policy": InventoryPolicy.CONTINUE}
    world.shop.inventory.change(variant, VariantChange(fields, ProductStatus.DRAFT))
    reading = (await read_variants(world.client, SHOP, [number]))[number]
    assert reading == VariantReading(
        variant_id=number,
        product_id=variant.product_id,
        inventory_item_id=variant.inventory_item_id,
        handle=variant.handle,
        product_title=variant.product_title,
        variant_title=variant.variant_title,
        price=Decimal("12.50"),
        compare_at_price=None,
        tracked=variant.tracked,
        inventory_quantity=-2,
        inventory_policy=InventoryPolicy.CONTINUE,
        product_active=False,
    )


@pytest.mark.parametrize(("typed", "shown"), [("12.51", "12.51"), ("12.50", None), ("9", None), ("0", None)])
async def test_former_price_that_is_not_higher_is_no_reduction(typed: str, shown: str | None, world: World) -> None:
    [number] = world.ids(1)
    variant = world.shop.inventory.find_or_deleted(number)
    assert variant
    fields = {"price": Decimal("12.50"), "compare_at_price": Decimal(typed)}
    world.shop.inventory.change(variant, VariantChange(fields))
    payload = product_payload(world.shop.demo, world.shop.inventory, variant, "http://127.0.0.1")
    assert [each["compare_at_price"] for each in payload["variants"] if each["id"] == number] == [
        f"{Decimal(typed):.2f}"
    ]
    reading = (await read_variants(world.client, SHOP, [number]))[number]
    assert reading
    told = read_product(payload).variants[number]
    assert reading.compare_at_price == told.compare_at_price == (None if shown is None else Decimal(shown))


async def test_full_batch_costs_points_per_batch(world: World) -> None:
    assert len(await read_variants(world.client, SHOP, world.ids())) == MAX_IDS
    assert world.shop.counters.points_spent == MAX_IDS * POINTS_PER_VARIANT


async def test_more_ids_than_a_batch_are_refused_before_the_request(world: World) -> None:
    with pytest.raises(ValueError, match="251 ids"):
        await read_variants(world.client, SHOP, range(251))


async def test_no_ids_need_no_request(world: World) -> None:
    assert await read_variants(world.client, SHOP, []) == {}
    assert world.shop.counters.requests == 0


async def test_deleted_variant_is_read_as_none(world: World) -> None:
    kept, deleted = world.ids(2)
    variant = world.shop.inventory.find_or_deleted(deleted)
    assert variant
    world.shop.inventory.change(variant, VariantChange({"deleted": True}))
    readings = await read_variants(world.client, SHOP, [deleted, kept, 1])
    assert readings[kept] is not None
    assert readings[deleted] is None
    assert readings[1] is None


async def test_bulk_and_nodes_read_the_same(world: World) -> None:
    ids = world.shop.inventory.variant_ids()
    assert len(ids) > MAX_IDS
    by_id = await read_variants(world.client, SHOP, ids[:250]) | await read_variants(world.client, SHOP, ids[250:])
    assert {reading.variant_id: reading for reading in await read_all_in_bulk(world)} == by_id


async def test_empty_shop_has_an_empty_bulk_result(world: World) -> None:
    for number in world.shop.inventory.variant_ids():
        variant = world.shop.inventory.find_or_deleted(number)
        assert variant
        world.shop.inventory.change(variant, VariantChange({"deleted": True}))
    assert await read_all_in_bulk(world) == []


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.BULK_FAILED, "FAILED"), (FaultKind.BULK_CANCELED, "CANCELED")])
async def test_failed_bulk_operation_raises(kind: FaultKind, status: str, world: World) -> None:
    world.shop.faults.set(Fault(kind, remaining=1))
    with pytest.raises(BulkOperationFailed, match=status):
        await read_all_in_bulk(world)


async def test_interrupted_download_continues_where_it_stopped(world: World) -> None:
    complete = await read_all_in_bulk(world)
    world.shop.faults.set(Fault(FaultKind.BULK_TRUNCATED, remaining=2))
    assert await read_all_in_bulk(world) == complete
    assert world.shop.counters.downloads == 4


async def test_download_that_is_never_complete_raises(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.BULK_TRUNCATED, remaining=None))
    with pytest.raises(ShopifyUnavailable, match="malformed JSON"):
        await read_all_in_bulk(world)
    assert world.shop.counters.downloads == MAX_RETRIES + 1


async def test_file_truncated_after_a_complete_line_raises(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await read_all_in_bulk(world)
    lines = bytes(world.shop.bulk_operations[0].content).splitlines(keepends=True)
    monkeypatch.setattr(world.shop, "file", lambda _key: b"".join(lines[:-1]))
    with pytest.raises(ShopifyUnavailable, match="ended after"):
        await read_all_in_bulk(world)


async def test_access_token_is_not_sent_with_the_download(world: World) -> None:
    sent: list[httpx.Request] = []

    async def record(request: httpx.Request) -> None:
        sent.append(request)

    world.http.event_hooks = {"request": [record]}
    await read_all_in_bulk(world)
    with_token = {"X-Shopify-Access-Token" in request.headers for request in sent if "/downloads/" in str(request.url)}
    assert with_token == {False}


async def test_reader_that_stops_early_closes_the_download(world: World) -> None:
    async with aclosing(bulk_read_variants(world.client, SHOP)) as readings:
        async for _ in readings:
            break
    assert world.shop.counters.downloads == 1


async def test_sixth_bulk_operation_waits_and_then_raises(world: World) -> None:
    await read_all_in_bulk(world)
    world.shop.bulk_operations[:] = world.shop.bulk_operations * 5
    world.shop.bulk_operations[0].status = "RUNNING"
    with pytest.raises(ShopifyThrottled, match="no bulk operation could be started"):
        await read_all_in_bulk(world)


async def test_refused_bulk_query_raises(world: World) -> None:
    with pytest.raises(ShopifyQueryInvalid, match="must contain at least one connection"):
        await anext(bulk_objects(world.client, SHOP, "{ shop { id } }"))


async def test_children_carry_the_id_of_their_parent(world: World) -> None:
    query = "{ products { edges { node { id variants { edges { node { id } } } } } } }"
    records = [record async for record in bulk_objects(world.client, SHOP, query)]
    products = {record["id"] for record in records if "__parentId" not in record}
    children = [record for record in records if "__parentId" in record]
    assert len(children) == len(world.shop.inventory.variant_ids())
    assert {child["__parentId"] for child in children} == products


async def test_nested_connections_are_children_too(world: World) -> None:
    query = "{ productVariants { nodes { id inventoryItem { id inventoryLevels { nodes { id } } } } } }"
    records = [record async for record in bulk_objects(world.client, SHOP, query)]
    variants = {record["id"]: record for record in records if "__parentId" not in record}
    levels = [record for record in records if "__parentId" in record]
    assert {level["__parentId"] for level in levels} == variants.keys()
    assert all(variant["inventoryItem"].keys() == {"id"} for variant in variants.values())


async def test_fewer_nodes_than_ids_do_not_count_as_deletions(world: World) -> None:
    short = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": {"nodes": []}}))
    async with httpx.AsyncClient(transport=short) as world.http:
        with pytest.raises(ShopifyUnavailable, match="0 nodes in answer to 1 ids"):
            await read_variants(world.another_client(), SHOP, [1])


def change(world: World, number: int, status: ProductStatus | None = None, **fields: object) -> None:
    variant = world.shop.inventory.find_or_deleted(number)
    assert variant
    world.shop.inventory.change(variant, VariantChange(fields, status))


@pytest.mark.parametrize("status", list(ProductStatus))
async def test_active_and_unlisted_products_are_sold(status: ProductStatus, world: World) -> None:
    [number] = world.ids(1)
    change(world, number, status)
    reading = (await read_variants(world.client, SHOP, [number]))[number]
    assert reading
    assert reading.product_active == (status in {"ACTIVE", "UNLISTED"})


async def test_variant_of_a_product_without_options_has_no_title(world: World) -> None:
    first, second = world.ids(2)
    change(world, first, variant_title="Default Title")
    change(world, second, variant_title="Default Title, the band")
    readings = await read_variants(world.client, SHOP, [first, second])
    assert [reading and reading.variant_title for reading in readings.values()] == ["", "Default Title, the band"]


async def test_node_of_another_variant_is_not_taken_for_the_one_asked_for(world: World) -> None:
    answer = {"data": {"nodes": [None, {"id": "gid://shopify/ProductVariant/1"}]}}
    swapped = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=swapped) as world.http:
        with pytest.raises(ShopifyUnavailable, match="is not that object"):
            await read_variants(world.another_client(), SHOP, [1, 2])


async def test_answer_without_a_node_does_not_describe_a_deleted_variant(world: World) -> None:
    short = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": {"nodes": []}}))
    async with httpx.AsyncClient(transport=short) as world.http:
        with pytest.raises(ShopifyUnavailable, match="0 nodes in answer to 1 ids"):
            await describe_variants(world.another_client(), SHOP, [1])


UNREADABLE = pytest.mark.parametrize(
    "fields",
    [
        {"price": Decimal("1E+11")},
        {"price": Decimal("99999999999.99991")},
        {"price": Decimal(-1)},
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": None},
        {"compare_at_price": Decimal("1E+12")},
        {"product_id": 2**63},
        {"inventory_item_id": 2**63},
    ],
)


@UNREADABLE
async def test_variant_that_cannot_be_stored_is_left_out(world: World, fields: dict[str, object]) -> None:
    bad, good = world.ids(2)
    variant = world.shop.inventory.find_or_deleted(bad)
    assert variant
    for name, value in fields.items():
        setattr(variant, name, value)
    assert list(await read_variants(world.client, SHOP, [bad, good])) == [good]
    assert bad not in {reading.variant_id for reading in await read_all_in_bulk(world)}
    assert list(await describe_variants(world.client, SHOP, [bad, good])) == [good]


async def test_nul_characters_are_removed_from_texts(world: World) -> None:
    [number] = world.ids(1)
    change(world, number, product_title="A\0 vase", variant_title="\0Sage", handle="a-\0vase")
    described = (await describe_variants(world.client, SHOP, [number]))[number]
    assert described
    reading, image = described
    assert (reading.product_title, reading.variant_title, reading.handle) == ("A vase", "Sage", "a-vase")
    assert image
    assert image.endswith("/images/a-vase.svg")


async def test_bulk_operation_that_completes_without_its_file_is_not_an_empty_shop(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.BULK_WITHOUT_FILE, remaining=1))
    with pytest.raises(BulkOperationFailed, match="without their file"):
        await read_all_in_bulk(world)


async def test_expired_url_of_a_bulk_file_is_a_failed_operation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.shop, "file", lambda _key: None)
    with pytest.raises(BulkOperationFailed, match="cannot be downloaded"):
        await read_all_in_bulk(world)


async def test_app_without_access_to_bulk_operations_is_refused(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.BULK_DENIED, remaining=1))
    with pytest.raises(ShopifyAccessDenied, match="Access denied"):
        await read_all_in_bulk(world)


@pytest.mark.parametrize(
    "result", [{"rootObjectCount": "5000"}, {"rootObjectCount": None}, {"rootObjectCount": "many"}, {}]
)
async def test_completed_operation_without_a_file_must_say_that_it_selected_nothing(
    world: World, result: dict[str, object]
) -> None:
    started = {"bulkOperationRunQuery": {"bulkOperation": {"id": "gid://shopify/BulkOperation/1"}, "userErrors": []}}
    completed = {"bulkOperation": {"status": "COMPLETED", "url": None, **result}}
    answers = iter([started, completed])
    shop = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": next(answers)}))
    async with httpx.AsyncClient(transport=shop) as world.http:
        world.client = world.another_client()
        with pytest.raises(BulkOperationFailed, match="without their file"):
            await read_all_in_bulk(world)


async def test_variant_with_a_malformed_image_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = world.ids(2)
    ids = [to_global("ProductVariant", number) for number in (bad, good)]
    answer = await world.client.query(SHOP, DESCRIBE_VARIANTS, {"ids": ids})
    answer["nodes"][0]["media"] = None
    monkeypatch.setattr(world.client, "query", AsyncMock(return_value=answer))
    assert list(await describe_variants(world.client, SHOP, [bad, good])) == [good]


async def test_variants_are_described_in_one_query_below_shopifys_limit(world: World) -> None:
    ids = world.ids(MAX_DESCRIBED)
    assert list(await describe_variants(world.client, SHOP, ids)) == ids
    assert world.shop.counters.requests == 1
    with pytest.raises(ValueError, match="at most 50"):
        await describe_variants(world.client, SHOP, [*ids, 1])
