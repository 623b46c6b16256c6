"""A sync takes only Shopify's own word for a deleted variant, however its bulk operation ends."""

import logging
from decimal import Decimal

import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from wishcraft.errors import ShopifyForbidden
from wishcraft.resources import Resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.store.shops import ShopRef


@pytest.fixture
def simulated(simulator: Simulator, shop: ShopRef) -> SimulatedShop:
    """The shop in the simulator."""
    return simulator.shops[shop.domain]


def wished_variants(demo: Demo, shop: ShopRef) -> list[int]:
    rows = demo.execute(
        """SELECT DISTINCT i.variant_id FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active' ORDER BY 1""",
        [shop.id],
    ).fetchall()
    return [variant_id for (variant_id,) in rows]


def discontinued(demo: Demo) -> set[int]:
    rows = demo.execute("SELECT variant_id FROM registry_items WHERE status = 'discontinued'").fetchall()
    return {variant_id for (variant_id,) in rows}


def change(simulated: SimulatedShop, number: int, status: ProductStatus | None = None, **fields: object) -> None:
    variant = simulated.inventory.find_or_deleted(number)
    assert variant
    simulated.inventory.change(variant, VariantChange(fields, status))


@pytest.mark.usefixtures("in_bulk")
@pytest.mark.parametrize(
    "kind",
    [FaultKind.BULK_WITHOUT_FILE, FaultKind.BULK_DENIED, FaultKind.BULK_FAILED, FaultKind.BULK_CANCELED],
)
async def test_sync_reads_by_id_if_the_bulk_operation_brings_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, simulated: SimulatedShop, kind: FaultKind
) -> None:
    simulated.faults.set(Fault(kind, remaining=None))
    *_, deleted, cheaper = wished_variants(demo, shop)
    change(simulated, deleted, deleted=True)
    change(simulated, cheaper, price=Decimal("0.50"))
    counts = await sync_shop(resources, shop)
    assert counts["variants"] == len(wished_variants(demo, shop))
    assert discontinued(demo) == {deleted}
    prices = demo.execute("SELECT DISTINCT price FROM registry_items WHERE variant_id = %s", [cheaper]).fetchall()
    assert Decimal("0.50") in {price for (price,) in prices}


@pytest.mark.usefixtures("in_bulk")
async def test_variant_missing_in_the_bulk_file_is_not_deleted_unless_its_id_is_unknown(
    resources: Resources, demo: Demo, shop: ShopRef, simulated: SimulatedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, deleted, missing = wished_variants(demo, shop)
    change(simulated, deleted, deleted=True)
    read = simulated.inventory.variant_ids
    monkeypatch.setattr(
        simulated.inventory, "variant_ids", lambda *product: [each for each in read(*product) if each != missing]
    )
    counts = await sync_shop(resources, shop)
    assert simulated.bulk_operations
    assert counts["deleted"] == 1
    assert discontinued(demo) == {deleted}


@pytest.mark.usefixtures("in_bulk")
@pytest.mark.parametrize(
    ("kind", "level"), [(FaultKind.BULK_DENIED, logging.ERROR), (FaultKind.BULK_FAILED, logging.WARNING)]
)
async def test_lapsed_bulk_access_is_logged_as_an_error_and_a_failed_operation_is_not(
    resources: Resources, shop: ShopRef, simulated: SimulatedShop, caplog: pytest.LogCaptureFixture,
    kind: FaultKind, level: int,
) -> None:  # fmt: skip
    simulated.faults.set(Fault(kind, remaining=1))
    await sync_shop(resources, shop)
    [record] = [each for each in caplog.records if "read by id instead" in each.message]
    assert record.levelno == level


async def test_unlisted_product_stays_in_its_registries(
    resources: Resources, demo: Demo, shop: ShopRef, simulated: SimulatedShop
) -> None:
    unlisted, archived = wished_variants(demo, shop)[:2]
    change(simulated, archived, ProductStatus.ARCHIVED)
    change(simulated, unlisted, ProductStatus.UNLISTED)
    await sync_shop(resources, shop)
    assert archived in discontinued(demo)
    assert unlisted not in discontinued(demo)


@pytest.mark.parametrize("bulk", [False, True])
async def test_unreadable_variant_keeps_its_items_and_the_others_are_synced(
    resources: Resources, demo: Demo, shop: ShopRef, simulated: SimulatedShop, request: pytest.FixtureRequest,
    *, bulk: bool,
) -> None:  # fmt: skip
    if bulk:
        request.getfixturevalue("in_bulk")
    *_, bad, nul, good = wished_variants(demo, shop)
    columns = "SELECT id, price, product_title, status FROM registry_items WHERE variant_id = %s ORDER BY id"
    before = demo.execute(columns, [bad]).fetchall()
    change(simulated, bad, price=Decimal("1E+12"), product_title="Unseen")
    change(simulated, nul, product_title="A \0vase")
    change(simulated, good, product_title="A bowl")
    counts = await sync_shop(resources, shop)
    assert (counts["unreadable"], counts["variants"]) == (1, len(wished_variants(demo, shop)) - 1)
    assert demo.execute(columns, [bad]).fetchall() == before
    assert {row[2] for row in demo.execute(columns, [good])} >= {"A bowl"}
    assert {row[2] for row in demo.execute(columns, [nul])} >= {"A vase"}


async def test_sync_from_an_address_off_the_allowlist_changes_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, simulated: SimulatedShop
) -> None:
    simulated.faults.set(Fault(FaultKind.FORBIDDEN, remaining=None))
    with pytest.raises(ShopifyForbidden):
        await sync_shop(resources, shop)
    assert not discontinued(demo)
