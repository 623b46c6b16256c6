import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.invitations import invite
from tests.support.waiting import wait_until
from wishcraft.cache import keys
from wishcraft.cache.registries import RegistryCache
from wishcraft.domain.invariants import WARNING_COUNTS
from wishcraft.errors import CacheUnavailable, ShopifyUnauthorized
from wishcraft.resources import Resources, open_resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.operations.invariants import check_shop
from wishcraft.services.registries.reader import RegistryReader, load_registries
from wishcraft.services.registries.warm import warm_shop
from wishcraft.settings import Settings
from wishcraft.store import locks, registries
from wishcraft.store.registries import WriteSession
from wishcraft.store.shops import ShopRef

WRONG = 77


async def check(resources: Resources, shop: ShopRef, *, repair: bool = True) -> dict[str, int]:
    """Run the check, and return its non-zero counts without `entries_checked`."""
    counts = await check_shop(resources, shop, repair=repair, sample=5000)
    assert set(counts) == {"entries_checked", *WARNING_COUNTS}
    return {name: count for name, count in counts.items() if count and name != "entries_checked"}


def one(demo: Demo, query: str, *parameters: object) -> Any:
    """The first column of the first row."""
    row = demo.execute(query.encode(), parameters).fetchone()
    assert row
    return row[0]


def an_item(demo: Demo, shop: ShopRef) -> tuple[int, int, str, int]:
    """A purchased item of an active registry, its registry's id and slug, and its correct count."""
    found = demo.execute(
        """SELECT i.id, r.id, r.slug, i.quantity_purchased FROM registry_items i
           JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active' AND i.quantity_purchased > 0 AND i.status <> 'hidden'
           ORDER BY i.id""",
        [shop.id],
    ).fetchone()
    assert found
    return found[0], found[1], found[2], found[3]


def counted(demo: Demo, item: int) -> int:
    return int(one(demo, "SELECT quantity_purchased FROM registry_items WHERE id = %s", item))


def miscount(demo: Demo, item: int) -> None:
    demo.execute("UPDATE registry_items SET quantity_purchased = %s WHERE id = %s", [WRONG, item])


async def same_as_postgresql(resources: Resources, shop: ShopRef, slug: str) -> bool:
    entry = await resources.cache.get(shop.id, slug)
    return entry is not None and entry.body == (await load_registries(resources, shop.id, [slug]))[slug].body


async def test_a_healthy_shop_has_no_violations_and_no_repairs(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    warmed = await warm_shop(resources, shop)
    before = one(demo, "SELECT count(*) FROM audit_logs"), one(demo, "SELECT sum(version) FROM registries")
    counts = await check_shop(resources, shop, repair=True, sample=5000)
    assert counts == {"entries_checked": warmed["warmed"], **dict.fromkeys(WARNING_COUNTS, 0)}
    assert (one(demo, "SELECT count(*) FROM audit_logs"), one(demo, "SELECT sum(version) FROM registries")) == before


async def test_a_wrong_purchase_count_is_repaired_published_and_audited(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    item, registry, slug, right = an_item(demo, shop)
    await warm_shop(resources, shop)
    version = one(demo, "SELECT version FROM registries WHERE id = %s", registry)
    miscount(demo, item)
    assert await check(resources, shop) == {"purchases_repaired": 1}
    assert counted(demo, item) == right
    assert one(demo, "SELECT version FROM registries WHERE id = %s", registry) == version + 1
    assert await same_as_postgresql(resources, shop, slug)
    details = one(demo, "SELECT metadata FROM audit_logs WHERE action = 'purchases.recounted'")
    assert details == {"items": [{"item_id": item, "was": WRONG, "counted": right}]}
    assert await check(resources, shop) == {}


async def test_only_live_purchases_count(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    item, *_ = an_item(demo, shop)
    demo.execute("UPDATE purchases SET status = 'refunded' WHERE item_id = %s", [item])
    assert await check(resources, shop) == {"purchases_repaired": 1}
    assert counted(demo, item) == 0


async def test_without_repair_violations_are_only_counted(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    item, _, slug, _ = an_item(demo, shop)
    await warm_shop(resources, shop)
    miscount(demo, item)
    pending = demo.execute(
        """INSERT INTO pending_invalidations (shop_id, slug, version, since)
           SELECT shop_id, slug, version, now() - interval '2 minutes' FROM registries
           WHERE shop_id = %s AND slug <> %s""",
        [shop.id, slug],
    ).rowcount
    counts = await check(resources, shop, repair=False)
    assert counts == {"purchases_left": 1, "invalidations_left": pending, "entries_left": 1}
    assert counted(demo, item) == WRONG
    assert not await same_as_postgresql(resources, shop, slug)
    assert one(demo, "SELECT count(*) FROM audit_logs WHERE actor = 'check-invariants'") == 0


async def test_a_purchase_made_during_the_repair_is_not_lost(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    item, registry, _, right = an_item(demo, shop)
    miscount(demo, item)
    bought = {"shop": shop.id, "registry": registry, "item": item}
    async with resources.db.transaction() as guest:
        await registries.lock(WriteSession(guest), shop.id, [registry])
        repair = asyncio.create_task(check(resources, shop))
        await wait_for_waiting(demo)
        await guest.execute(
            text("""
                INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, quantity,
                    unit_price, status) VALUES (:shop, :registry, :item, 1, 1, '#1', 3, 1, 'confirmed')"""),
            bought,
        )
        await guest.execute(
            text("UPDATE registry_items SET quantity_purchased = quantity_purchased + 3 WHERE id = :item"), bought
        )
    assert await repair == {"purchases_repaired": 1}
    assert counted(demo, item) == right + 3


async def wait_for_waiting(demo: Demo) -> None:
    """Wait until a transaction in this database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await wait_until(lambda: one(demo, waiting))


async def test_two_concurrent_checks_repair_once(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    item, registry, slug, right = an_item(demo, shop)
    await warm_shop(resources, shop)
    miscount(demo, item)
    version = one(demo, "SELECT version FROM registries WHERE id = %s", registry)
    both = await asyncio.gather(check(resources, shop), check(resources, shop))
    assert sum(each.get("purchases_repaired", 0) for each in both) == 1
    assert one(demo, "SELECT version FROM registries WHERE id = %s", registry) == version + 1
    assert counted(demo, item) == right
    assert (await RegistryReader(resources).read(shop.id, slug)).entry.header.version == version + 1
    assert await check(resources, shop) == {}


class Killed(BaseException):
    """The death of the process."""


@pytest.mark.parametrize("committed", [False, True])
async def test_the_next_check_completes_a_repair_killed_around_its_commit(
    resources: Resources, demo: Demo, shop: ShopRef, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    item, _, slug, right = an_item(demo, shop)
    await warm_shop(resources, shop)
    miscount(demo, item)
    invalidate = RegistryCache.invalidate

    async def die(*arguments: Any) -> None:
        if not committed:
            await invalidate(*arguments)
        raise Killed

    with monkeypatch.context() as death:
        if committed:
            death.setattr(RegistryCache, "fill", die)
        else:
            death.setattr(RegistryCache, "invalidate", die)
        with pytest.raises(Killed):
            await check(resources, shop)
    assert counted(demo, item) == (right if committed else WRONG)
    assert await resources.cache.get(shop.id, slug) is None
    assert await check(resources, shop) == ({} if committed else {"purchases_repaired": 1})
    assert counted(demo, item) == right
    await resources.redis.redis.delete(f"{keys.of_shop(shop.id).lease_prefix}{slug}")  # the dead process's expires
    await RegistryReader(resources).read(shop.id, slug)
    assert await same_as_postgresql(resources, shop, slug)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE registries SET title = 'Behind its back', version = version + 1 WHERE slug = %s",
        "UPDATE registries SET title = 'Without a version' WHERE slug = %s",
        "UPDATE registries SET visibility = 'private' WHERE slug = %s",
        "DELETE FROM registries WHERE slug = %s",
    ],
)
async def test_a_cache_entry_that_differs_from_postgresql_is_replaced(
    resources: Resources, demo: Demo, shop: ShopRef, change: str
) -> None:
    slug = an_item(demo, shop)[2]
    await warm_shop(resources, shop)
    demo.execute(change.encode(), [slug])
    assert await check(resources, shop) == {"entries_repaired": 1}
    documents = await load_registries(resources, shop.id, [slug])
    answer = await RegistryReader(resources).read(shop.id, slug)
    assert answer.entry.body == (documents[slug].body if documents else b"")
    assert one(demo, "SELECT metadata FROM audit_logs WHERE action = 'cache.repaired'") == {"registries": 1}
    assert await check(resources, shop) == {}


async def test_an_entry_dropped_by_a_writer_during_the_check_is_not_wrong(
    resources: Resources, demo: Demo, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = an_item(demo, shop)[2]
    await warm_shop(resources, shop)
    writes = iter([True])

    async def write_first(*arguments: Any) -> Any:
        if next(writes, False):  # as a sync does: invalidated before the commit, refilled after it
            await resources.cache.invalidate(shop.id, {slug: 2})
            demo.execute("UPDATE registries SET version = 2, title = 'New' WHERE slug = %s", [slug])
        return await load_registries(*arguments)

    monkeypatch.setattr("wishcraft.services.operations.invariants.load_registries", write_first)
    assert await check(resources, shop) == {}


async def test_checks_beside_syncs_and_readers_find_no_violation(
    resources: Resources, demo: Demo, shop: ShopRef, simulator: Simulator
) -> None:
    await warm_shop(resources, shop)
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop.id])]
    inventory = simulator.shops[shop.domain].inventory

    async def sync_and_read() -> None:
        for _ in range(5):
            for variant_id in inventory.variant_ids():
                variant = inventory.find_or_deleted(variant_id)
                assert variant
                variant.price += 1
            assert (await sync_shop(resources, shop))["items_changed"]
            await asyncio.gather(*(RegistryReader(resources).read(shop.id, slug) for slug in slugs))

    disturbing = asyncio.create_task(sync_and_read())
    while not disturbing.done():
        assert await check(resources, shop) == {}
    await disturbing


def change_without_redis(demo: Demo, slug: str, ago: str) -> None:
    """Commit a change with a pending invalidation of that age."""
    demo.execute(
        """WITH r AS (UPDATE registries SET version = version + 1, title = 'Missed' WHERE slug = %s RETURNING *)
           INSERT INTO pending_invalidations (shop_id, slug, version, since)
           SELECT shop_id, slug, version, now() - CAST(%s AS interval) FROM r""",
        [slug, ago],
    )


async def test_overdue_invalidation_is_replayed(resources: Resources, demo: Demo, shop: ShopRef, redis: Redis) -> None:
    slug = an_item(demo, shop)[2]
    await warm_shop(resources, shop)
    change_without_redis(demo, slug, "2 minutes")
    assert await check(resources, shop) == {"invalidations_repaired": 1}
    assert one(demo, "SELECT count(*) FROM pending_invalidations") == 0
    replayed = one(demo, "SELECT metadata FROM audit_logs WHERE action = 'cache.invalidation_replayed'")
    assert replayed == {"registries": 1}
    assert await redis.hexists(keys.of_shop(shop.id).floors, slug)
    assert b"Missed" in (await RegistryReader(resources).read(shop.id, slug)).entry.body


async def test_a_change_that_redis_missed_just_now_is_left_to_the_api(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    slug = an_item(demo, shop)[2]
    await warm_shop(resources, shop)
    change_without_redis(demo, slug, "0")
    assert await check(resources, shop) == {}


@pytest.fixture
def stuck_reminder(demo: Demo, shop: ShopRef) -> int:
    """A reminder that has been `sending` for 31 minutes."""
    return int(
        one(
            demo,
            """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, updated_at)
               SELECT shop_id, id, 'week', current_date, 'a@b.example', 'sending', now() - interval '31 minutes'
               FROM registries WHERE shop_id = %s ORDER BY id LIMIT 1 RETURNING id""",
            shop.id,
        )
    )


async def test_a_stuck_reminder_is_counted_and_not_changed(
    resources: Resources, demo: Demo, shop: ShopRef, stuck_reminder: int
) -> None:
    assert await check(resources, shop) == {"reminders_left": 1}
    assert one(demo, "SELECT state FROM reminders WHERE id = %s", stuck_reminder) == "sending"
    demo.execute("UPDATE reminders SET updated_at = now() - interval '29 minutes'")
    assert await check(resources, shop) == {}


@pytest.mark.usefixtures("stuck_reminder")
async def test_no_reminder_counts_as_stuck_while_a_run_sends(resources: Resources, shop: ShopRef) -> None:
    async with locks.acquire(resources.db, "reminders", shop.id):
        assert await check(resources, shop) == {}
    assert await check(resources, shop) == {"reminders_left": 1}


async def test_a_stuck_invitation_is_counted_unless_a_run_sends(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    invite(demo, "a@b.example", "c@d.example")
    demo.execute("UPDATE invitations SET state = 'sending' WHERE recipient = 'a@b.example'")
    assert await check(resources, shop) == {}
    demo.execute("UPDATE invitations SET updated_at = now() - interval '31 minutes'")
    async with locks.acquire(resources.db, "invitations", shop.id):
        assert await check(resources, shop) == {}
    assert await check(resources, shop) == {"reminders_left": 1}


async def test_a_shop_not_synced_for_an_hour_is_counted_until_a_sync_completes(
    resources: Resources, demo: Demo, shop: ShopRef, simulator: Simulator
) -> None:
    demo.execute("UPDATE shops SET synced_at = now() - interval '61 minutes'")
    assert await check(resources, shop) == {"syncs_left": 1}
    simulator.shops[shop.domain].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    with pytest.raises(ShopifyUnauthorized):
        await sync_shop(resources, shop)
    assert await check(resources, shop) == {"syncs_left": 1}
    simulator.shops[shop.domain].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=0))
    await sync_shop(resources, shop, dry_run=True)
    assert await check(resources, shop) == {"syncs_left": 1}
    await sync_shop(resources, shop)
    assert await check(resources, shop) == {}


async def test_a_shop_without_active_registries_need_not_be_synced(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    demo.execute("UPDATE shops SET synced_at = now() - interval '61 minutes'")
    demo.execute("UPDATE registries SET status = 'paused'")
    assert await check(resources, shop) == {}


async def test_a_check_without_redis_raises_cache_unavailable(settings: Settings, demo: Demo, shop: ShopRef) -> None:
    item, *_ = an_item(demo, shop)
    miscount(demo, item)
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with open_resources(unreachable) as resources:
        with pytest.raises(CacheUnavailable):
            await check(resources, shop)
    assert counted(demo, item) == WRONG
