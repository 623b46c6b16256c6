"""The write primitive, step by step: each test fails when its step is taken out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from tests.support.aliases import Demo
from tests.support.registry_writes import Registry, of_shop, rename, spying, version
from wishcraft.cache import keys
from wishcraft.resources import Resources
from wishcraft.services.registries import write as write_module
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import registry_write
from wishcraft.settings import Settings
from wishcraft.store import registries, registry_payloads
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef


async def test_a_write_raises_the_version_of_what_changed_and_of_nothing_else(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    first, second, *_ = of_shop(demo, shop)
    async with registry_write(
        resources, Actor(shop.id, "test"), [first[0], second[0]], on_cache_down="refuse"
    ) as write:
        write.changed(second[0])
    assert (version(demo, first[0]), version(demo, second[0])) == (first[2], second[2] + 1)


async def test_the_cache_is_invalidated_before_the_commit(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_id, slug, old = registry
    await RegistryReader(resources).read(shop.id, slug)
    seen: list[tuple[int, bool]] = []
    invalidate = write_module._invalidate

    async def look(*arguments: Any, **options: Any) -> Any:
        await invalidate(*arguments, **options)
        seen.append((version(demo, registry_id), await resources.cache.get(shop.id, slug) is None))

    monkeypatch.setattr(write_module, "_invalidate", look)
    await rename(resources, shop, registry_id)
    assert seen == [(old, True)]


async def test_a_write_leaves_its_version_as_the_floor(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, redis: Redis
) -> None:
    registry_id, slug, old = registry
    await rename(resources, shop, registry_id)
    floor = await redis.hget(keys.of_shop(shop.id).floors, slug)
    assert floor is not None
    assert int(floor) == old + 1 == version(demo, registry_id)


async def test_a_write_has_the_entry_that_it_refilled(resources: Resources, shop: ShopRef, registry: Registry) -> None:
    registry_id, slug, _ = registry
    async with registry_write(resources, Actor(shop.id, "test"), [registry_id], on_cache_down="refuse") as write:
        write.changed(registry_id)
    assert write.refilled[slug].entry == await resources.cache.get(shop.id, slug)


async def test_the_entry_is_refilled_after_the_commit(resources: Resources, shop: ShopRef, registry: Registry) -> None:
    await rename(resources, shop, registry[0])
    entry = await resources.cache.get(shop.id, registry[1])
    assert entry
    assert b'"New"' in entry.body


async def test_rows_are_locked_before_the_block_and_in_the_order_of_their_ids(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str]
) -> None:
    ids = [registry_id for registry_id, _, _ in of_shop(demo, shop)]
    async with registry_write(resources, Actor(shop.id, "test"), ids[::-1], on_cache_down="refuse"):
        locked = demo.execute("SELECT id FROM registries WHERE shop_id = %s FOR UPDATE SKIP LOCKED", [shop.id])
        assert locked.fetchall() == []
    assert [query for query in queries if "ORDER BY registries.id FOR UPDATE" in query]


async def test_a_failed_write_leaves_no_trace_and_publishes_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    published: list[Mapping[str, int]] = []

    async def fail() -> None:
        async with registry_write(
            spying(resources, published), Actor(shop.id, "test"), [registry[0]], on_cache_down="announce"
        ) as write:
            await registries.update_columns(write.session, shop.id, registry[0], {"title": "New"})
            write.changed(registry[0], "registry.changed")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        await fail()
    assert version(demo, registry[0]) == registry[2]
    assert demo.execute("SELECT FROM registries WHERE title = 'New'").fetchall() == []
    assert demo.execute("SELECT FROM audit_logs WHERE actor = 'test'").fetchall() == []
    assert published == []


async def test_a_write_that_changed_nothing_publishes_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    published: list[Mapping[str, int]] = []
    async with registry_write(
        spying(resources, published), Actor(shop.id, "test"), [registry[0]], on_cache_down="refuse"
    ):
        pass
    assert (version(demo, registry[0]), published) == (registry[2], [])


async def test_a_committed_write_is_published_once_after_its_refill(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    seen: list[object] = []

    async def after_write(shop_id: int, versions: Mapping[str, int]) -> None:
        entry = await resources.cache.get(shop_id, registry[1])
        seen.append((dict(versions), version(demo, registry[0]), entry and entry.header.version))

    await rename(replace(resources, after_write=after_write), shop, registry[0])
    new = registry[2] + 1
    assert seen == [({registry[1]: new}, new, new)]


async def test_a_hook_that_fails_does_not_fail_the_committed_write(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    async def after_write(_shop_id: int, _versions: Mapping[str, int]) -> None:
        raise ConnectionError("connection refused")

    await rename(replace(resources, after_write=after_write), shop, registry[0])
    assert version(demo, registry[0]) == registry[2] + 1
    assert "The hook after a write failed" in caplog.text


async def test_an_action_is_written_to_the_audit_log_in_the_same_transaction(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    async with registry_write(resources, Actor(shop.id, "test"), [registry[0]], on_cache_down="refuse") as write:
        write.changed(registry[0], "registry.changed", {"because": "test"})
    rows = demo.execute(
        """SELECT action, resource_id, metadata, a.xmin::text = r.xmin::text
           FROM audit_logs a JOIN registries r ON r.id::text = a.resource_id WHERE actor = 'test'"""
    ).fetchall()
    assert rows == [("registry.changed", str(registry[0]), {"because": "test"}, True)]


async def test_a_deleted_registry_is_invalidated_and_then_absent(
    resources: Resources, shop: ShopRef, registry: Registry, redis: Redis
) -> None:
    registry_id, slug, old = registry
    reader, published = RegistryReader(resources), list[Mapping[str, int]]()
    assert (await reader.read(shop.id, slug)).entry.body
    async with registry_write(
        spying(resources, published), Actor(shop.id, "test"), [registry_id], on_cache_down="refuse"
    ) as write:
        await write.session.execute(text("DELETE FROM registries WHERE id = :id"), {"id": registry_id})
        write.changed(registry_id)
    assert published == [{slug: old + 1}]
    assert await redis.hget(keys.of_shop(shop.id).floors, slug) is None
    assert (await reader.read(shop.id, slug)).entry.body == b""


async def test_the_write_limit_ends_a_transaction_that_invalidated_and_does_not_commit(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bump_versions = write_module.RegistryWrite.bump_versions

    async def outlast(write: write_module.RegistryWrite) -> Any:
        write.limit_seconds = 1
        versions = await bump_versions(write)
        await write.session.execute(text("SELECT pg_sleep(20)"))
        return versions

    monkeypatch.setattr(write_module.RegistryWrite, "bump_versions", outlast)
    with pytest.raises(Exception, match="transaction timeout"):
        await rename(resources, shop, registry[0])
    assert version(demo, registry[0]) == registry[2]


async def test_committed_write_succeeds_if_postgresql_cannot_serve_the_refill(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, settings: Settings
) -> None:
    published: list[Mapping[str, int]] = []
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as migration:
        migration.execute("LOCK TABLE registry_items IN ACCESS EXCLUSIVE MODE")
        await rename(spying(resources, published), shop, registry[0])
    assert published == [{registry[1]: version(demo, registry[0])}] == [{registry[1]: registry[2] + 1}]


async def test_committed_write_succeeds_if_the_new_entry_cannot_be_built(
    resources: Resources,
    demo: Demo,
    shop: ShopRef,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no payload")

    monkeypatch.setattr(registry_payloads, "read", fail)
    published: list[Mapping[str, int]] = []
    await rename(spying(resources, published), shop, registry[0])
    assert published == [{registry[1]: version(demo, registry[0])}] == [{registry[1]: registry[2] + 1}]
    assert "no payload" in caplog.text


async def test_write_limit_holds_when_all_changed_registries_were_deleted(
    resources: Resources, shop: ShopRef, registry: Registry
) -> None:
    actor = Actor(shop.id, "test")
    async with registry_write(resources, actor, [registry[0]], on_cache_down="refuse") as write:
        await write.session.execute(text("DELETE FROM registries WHERE id = :id"), {"id": registry[0]})
        write.changed(registry[0])
        await write.bump_versions()
        limit = (await write.session.execute(text("SHOW transaction_timeout"))).scalar_one()
    assert limit == f"{keys.WRITE_LIMIT_SECONDS}s"


async def test_write_locks_more_registries_than_a_statement_has_parameters(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    ids = [registry[0], *range(10**12, 10**12 + 70_000)]
    async with registry_write(resources, Actor(shop.id, "test"), ids, on_cache_down="refuse") as write:
        write.changed(registry[0])
    assert version(demo, registry[0]) == registry[2] + 1
