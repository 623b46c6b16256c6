"""A registry that is created while its shop is being erased is erased with it, from Redis too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from tests.support.aliases import Demo
from tests.support.api import SHOP, WEDDING, Shopper
from tests.support.erased_person import REDACT, REGISTRANT, SHOP_REDACT, redact
from tests.support.residual_data import traces_in_redis
from tests.support.waiting import WAITING, wait_until
from tests.support.webhooks import apply
from wishcraft.cache.erasure import delete_shop_keys
from wishcraft.domain.callers import Caller
from wishcraft.domain.registries import EventType, Visibility
from wishcraft.errors import CacheUnavailable, RegistriesChanged, ShopErased
from wishcraft.files import RUNS
from wishcraft.resources import Resources
from wishcraft.services.privacy import erase, journal
from wishcraft.services.privacy.erase import shop_key
from wishcraft.services.privacy.journal import JournalEntry
from wishcraft.services.privacy.webhooks import handle_customer_redactions, handle_shop_redactions
from wishcraft.services.registries.access import unlock
from wishcraft.services.registries.code_hashes import hash_code
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.settings import Settings
from wishcraft.store import registries
from wishcraft.store.audit_log import Actor
from wishcraft.store.registries import NewRegistry
from wishcraft.store.shops import ShopRef

SLUG: Final = "late-xylophone"
CODE: Final = "tulip-canoe-amber"


async def create(resources: Resources, before_commit: Callable[[], Awaitable[None]] | None = None) -> None:
    """Create a registry of the shop and put it into Redis, as the API does for a caller whom it has let in before."""
    code_hash = await hash_code(CODE, "customer:1:7")
    who = ("late@example.com", "Late", "Xylophone")
    new = NewRegistry(SLUG, "Late", "", EventType.GENERAL, None, None, Visibility.PASSWORD, code_hash, 7, *who, [])
    lock = registries.lock_customer(1, 7)
    async with registry_write(resources, Actor(1, "customer:1:7"), on_cache_down="refuse", first=lock) as write:
        registry_id = registries.read_customer(write.found[-1]).next_id
        await write.run(registries.add(1, registry_id, new))
        write.changed(registry_id, "registry.created")
        if before_commit:
            await before_commit()


async def erase_by_webhook(resources: Resources, demo: Demo) -> None:
    await redact(demo, resources, SHOP_REDACT, "shop/redact")


async def erase_by_journal(resources: Resources, _demo: Demo) -> None:
    entry = JournalEntry("1.json", "shop/redact", SHOP, 1, datetime.now(UTC), None)
    assert await journal.replay(resources, entry, dry_run=False) == {"shops": 1}


@pytest.fixture(params=[erase_by_webhook, erase_by_journal])
def erase_it(request: pytest.FixtureRequest, demo: Demo, resources: Resources) -> Callable[[], Awaitable[None]]:
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    return lambda: request.param(resources, demo)


async def kinds_of_traces(redis: Redis) -> set[str]:
    return {key.split(":")[2] for key in await traces_in_redis(redis, SLUG)}


def assert_it_is_erased(demo: Demo) -> None:
    assert demo.execute("SELECT count(*) FROM shops WHERE id = 1").fetchone() == (0,)
    assert demo.execute("SELECT count(*) FROM pending_invalidations").fetchone() == (0,)
    assert demo.execute("SELECT count(*) FROM audit_logs WHERE actor = 'customer:1:7'").fetchone() == (0,)


async def test_erasure_of_a_shop_ends_the_alert_that_complaints_pause_its_mail(
    resources: Resources, erase_it: Callable[[], Awaitable[None]]
) -> None:
    resources.counters.set("mail_paused", 1, shop=SHOP)
    await resources.counters.flush()
    await erase_it()
    await resources.counters.flush()
    assert SHOP not in {name for each in (await resources.counters.read())["mail_paused"] for name in each.labels}


@pytest.mark.parametrize(("is_cut_short", "left"), [(False, set[str]()), (True, {"session"})])
async def test_registry_created_after_the_others_were_erased_is_served_no_more(
    demo: Demo, resources: Resources, redis: Redis, erase_it: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch, is_cut_short: bool, left: set[str],
) -> None:  # fmt: skip
    """If nothing else happens after the commit, grants stay until they expire, and open no registry."""
    seen = set[str]()

    async def delete_then_create(*arguments: Any) -> None:
        if seen and is_cut_short:
            raise CacheUnavailable
        await delete_shop_keys(*arguments)
        if not seen:
            await create(resources)
            await unlock(resources, Caller(1, "guest:1"), ["1"], SLUG, CODE)
            seen.update(await kinds_of_traces(redis))

    resources.cache._hold_seconds = 0
    monkeypatch.setattr(erase, "delete_shop_keys", delete_then_create)
    await erase_it()
    assert seen >= {"entry", "session"}
    assert await kinds_of_traces(redis) == left
    assert_it_is_erased(demo)


async def test_erasure_waits_for_a_creation_and_erases_its_registry(
    demo: Demo, resources: Resources, redis: Redis, erase_it: Callable[[], Awaitable[None]]
) -> None:
    async def wait_for_the_erasure() -> None:
        started.set()
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,), "the erasure does not wait")

    started = asyncio.Event()
    creation = asyncio.create_task(create(resources, wait_for_the_erasure))
    await started.wait()
    await asyncio.gather(creation, erase_it())
    assert await kinds_of_traces(redis) == set()
    assert_it_is_erased(demo)


async def test_creation_that_waits_for_the_erasure_of_its_shop_is_refused(
    demo: Demo, resources: Resources, settings: Settings
) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as erasure:
        erasure.execute("DELETE FROM audit_logs WHERE shop_id = 1")
        erasure.execute("DELETE FROM shops WHERE id = 1")
        creation = asyncio.create_task(create(resources))
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,), "the creation does not wait")
        erasure.commit()
        with pytest.raises(ShopErased):
            await creation


async def test_erasure_waits_for_a_change_of_a_late_registry(
    demo: Demo, resources: Resources, redis: Redis, erase_it: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A change locks its registry, and then the shop for its entry in the audit log."""
    changes = list[asyncio.Task[None]]()

    async def change(begun: asyncio.Event) -> None:
        [(registry_id,)] = demo.execute("SELECT id FROM registries WHERE slug = %s", [SLUG]).fetchall()
        async with registry_write(resources, Actor(1, "customer:1:7"), [registry_id], on_cache_down="refuse") as write:
            begun.set()
            await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,), "the erasure does not wait")
            await registries.update_columns(write.session, 1, registry_id, {"title": "New"})
            write.changed(registry_id, "registry.changed")

    async def delete_then_change(*arguments: Any) -> None:
        await delete_shop_keys(*arguments)
        if not changes:
            await create(resources)
            changes.append(asyncio.create_task(change(begun := asyncio.Event())))
            await begun.wait()

    resources.cache._hold_seconds = 0
    monkeypatch.setattr(erase, "delete_shop_keys", delete_then_change)
    await erase_it()
    await changes[0]
    assert await kinds_of_traces(redis) == set()
    assert_it_is_erased(demo)


async def test_new_installation_keeps_what_it_has_in_redis_and_files(
    demo: Demo, resources: Resources, redis: Redis, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_registries = erase._delete_registries

    async def delete_then_install(*arguments: Any) -> AsyncIterator[None]:
        async for each in delete_registries(*arguments):
            yield each
        demo.execute("UPDATE shops SET status = 'active', installed_at = now() WHERE id = 1")
        resources.files.write(f"{RUNS}/{shop_key(shop)}-new", "customer-data-1.json", b"{}")
        await redis.set("wishcraft:{1}:session:new", SLUG, ex=60)

    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    monkeypatch.setattr(erase, "_delete_registries", delete_then_install)
    await redact(demo, resources, SHOP_REDACT, "shop/redact")
    assert demo.execute("SELECT status FROM shops WHERE id = 1").fetchone() == ("active",)
    assert await kinds_of_traces(redis) == {"session"}
    assert resources.files.read(f"{RUNS}/{shop_key(shop)}-new", "customer-data-1.json") == b"{}"


async def test_change_of_a_registry_that_names_a_person_just_before_their_erasure_is_kept(
    demo: Demo, resources: Resources, shop: ShopRef, hugo: Shopper
) -> None:
    """It is not waited for: its writer may be about to wait for what the erasure has locked."""
    slug, other = await hugo.create(title="Hugo"), {"first_name": "Ada", "last_name": "B", "email": "ada@example.com"}
    request = Message(1, "customers/redact", None, datetime.now(UTC), REDACT)
    effect = await handle_customer_redactions(resources, shop, [request])
    name = "UPDATE registries SET co_registrants = %s WHERE slug = %s"
    demo.execute(name, [Jsonb([REGISTRANT]), slug])
    with pytest.raises(RegistriesChanged):
        async with registry_write(resources, Actor(1, "webhook"), on_cache_down="announce") as write:
            await effect.apply(write)
    demo.execute(name, [Jsonb([REGISTRANT, other]), slug])
    await apply(resources, shop, handle_customer_redactions, [request])
    named = demo.execute("SELECT co_registrants FROM registries WHERE slug = %s", [slug]).fetchone()
    assert named == ([other],)


async def test_shop_that_leaves_again_just_after_it_was_asked_for_is_not_erased_yet(
    demo: Demo, resources: Resources, shop: ShopRef
) -> None:
    message = Message(1, "shop/redact", None, datetime.now(UTC), SHOP_REDACT)
    effect = await handle_shop_redactions(resources, shop, [message])
    demo.execute("UPDATE shops SET status = 'uninstalled', uninstalled_at = now() WHERE id = 1")
    async with registry_write(resources, Actor(1, "webhook"), on_cache_down="announce") as write:
        assert await effect.apply(write) == {1: "ignored"}
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (4,)


async def test_caller_whose_shop_was_just_erased_is_refused(
    demo: Demo, emma: Shopper, client: httpx.AsyncClient, resources: Resources, key: dict[str, str]
) -> None:
    """The process remembers for seconds that it has let the caller in."""
    slug = await emma.create()
    for path in (f"/api/registries/{slug}", "/api/admin/settings"):
        assert (await client.get(path, headers=key)).status_code == 200
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    await erase_by_webhook(resources, demo)
    refused = await emma.send("POST", "/api/registries", WEDDING)
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (401, "shop-not-installed")
    for path in ("/api/admin/settings", "/api/admin/usage", "/api/products?ids=1"):
        assert (await client.get(path, headers=key)).status_code in {401, 404}, path
