"""The write primitive while Redis does not answer, and the replay of pending invalidations."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.aliases import Demo
from tests.support.registry_writes import Registry, pending, rename, spying, version
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.cache import keys
from wishcraft.cache.read_permit import PERMIT_SECONDS
from wishcraft.errors import CacheUnavailable
from wishcraft.resources import Resources, open_resources
from wishcraft.services.registries import write as write_module
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import registry_write, replay_invalidations
from wishcraft.settings import Settings
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef


@pytest.fixture
async def on_own_valkey(settings: Settings, own_valkey: OwnValkey, demo: Demo) -> Any:
    """Resources on a Redis that the test can kill."""
    async with open_resources(settings.model_copy(update={"redis_url": own_valkey.url})) as opened:
        yield opened


async def test_a_write_without_redis_has_no_entries(settings: Settings, shop: ShopRef, registry: Registry) -> None:
    async with (
        open_resources(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as resources,
        registry_write(resources, Actor(shop.id, "test"), [registry[0]], on_cache_down="announce") as write,
    ):
        write.changed(registry[0])
    assert write.refilled == {}


async def test_without_redis_a_persons_write_is_committed_and_its_invalidation_is_pending(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    published: list[Mapping[str, int]] = []
    own_valkey.kill()
    await rename(spying(on_own_valkey, published), shop, registry[0], on_cache_down="announce")
    new = registry[2] + 1
    assert version(demo, registry[0]) == new
    assert pending(demo) == [(registry[1], new)]
    assert published == [{registry[1]: new}]


async def test_without_redis_a_jobs_write_is_refused_and_nothing_is_written(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    own_valkey.kill()
    with pytest.raises(CacheUnavailable):
        await rename(on_own_valkey, shop, registry[0], on_cache_down="refuse")
    assert version(demo, registry[0]) == registry[2]
    assert pending(demo) == []


async def test_without_redis_a_write_announces_and_waits_before_it_commits(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: list[tuple[float, list[tuple[Any, ...]], int]] = []

    async def sleep(seconds: float) -> None:
        seen.append((seconds, pending(demo), version(demo, registry[0])))

    own_valkey.kill()
    monkeypatch.setattr(write_module, "asyncio", SimpleNamespace(sleep=sleep))
    await rename(on_own_valkey, shop, registry[0])
    [(seconds, announced, committed)] = seen
    assert seconds > PERMIT_SECONDS
    assert (announced, committed) == ([(registry[1], registry[2] + 1)], registry[2])


async def test_a_write_that_redis_missed_does_not_ask_it_again_before_the_commit(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """To wait a second time for a silent one, five seconds in the consumer, would exceed the transaction's limit."""

    async def restart(_seconds: float) -> None:
        await asyncio.to_thread(own_valkey.start)

    own_valkey.kill()
    monkeypatch.setattr(write_module, "asyncio", SimpleNamespace(sleep=restart))
    actor = Actor(shop.id, "test")
    async with registry_write(on_own_valkey, actor, [registry[0]], on_cache_down="announce") as write:
        write.changed(registry[0])
    assert write.is_committed
    assert write.refilled == {}


async def test_announcement_of_a_write_that_fails_to_commit_stays(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def die(_seconds: float) -> None:
        raise ConnectionError

    own_valkey.kill()
    monkeypatch.setattr(write_module, "asyncio", SimpleNamespace(sleep=die))
    with pytest.raises(ConnectionError):
        await rename(on_own_valkey, shop, registry[0])
    assert version(demo, registry[0]) == registry[2]
    assert pending(demo) == [(registry[1], registry[2] + 1)]


async def test_every_write_can_announce_while_all_connections_are_in_use(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef
) -> None:
    [(registry_id,)] = demo.execute("SELECT min(id) FROM registries WHERE shop_id = %s", [shop.id]).fetchall()
    added = demo.execute(
        """INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_id, customer_email,
                                   customer_first_name, customer_last_name)
           SELECT shop_id, 'copy-' || n, title, event_type, visibility, customer_id, customer_email,
                  customer_first_name, customer_last_name
           FROM registries, generate_series(1, 10) n WHERE id = %s RETURNING id""",
        [registry_id],
    ).fetchall()
    own_valkey.kill()
    await asyncio.gather(*(rename(on_own_valkey, shop, each) for (each,) in added))
    assert len(pending(demo)) == 10


@pytest.mark.parametrize("what", ["registry", "shop"])
async def test_a_pending_invalidation_outlives_its_registry_and_its_shop(
    on_own_valkey: Resources, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry, what: str
) -> None:
    own_valkey.kill()
    await rename(on_own_valkey, shop, registry[0])
    if what == "registry":
        demo.execute("DELETE FROM registries WHERE id = %s", [registry[0]])
    else:
        demo.execute("DELETE FROM shops WHERE id = %s", [shop.id])
    assert pending(demo) == [(registry[1], registry[2] + 1)]
    await asyncio.to_thread(own_valkey.start)
    assert await replay_invalidations(on_own_valkey) == 1
    assert pending(demo) == []


async def test_replay_leaves_what_was_announced_again_meanwhile(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write announced a version and failed; the second one announces the same version during the replay."""
    announce = """INSERT INTO pending_invalidations (shop_id, slug, version) VALUES (%s, %s, 7)
                  ON CONFLICT (shop_id, slug) DO UPDATE SET version = excluded.version"""
    demo.execute(announce, [shop.id, registry[1]])
    invalidate = resources.cache.invalidate

    async def announce_again(shop_id: int, versions: Mapping[str, int]) -> None:
        await invalidate(shop_id, versions)
        demo.execute(announce, [shop.id, registry[1]])

    with monkeypatch.context() as patch:
        patch.setattr(resources.cache, "invalidate", announce_again)
        assert await replay_invalidations(resources) == 1
        assert pending(demo) == [(registry[1], 7)]
    assert await replay_invalidations(resources) == 1
    assert pending(demo) == []


async def test_replay_goes_on_after_the_error_of_one_shop(
    resources: Resources, demo: Demo, shop: ShopRef, redis: Redis
) -> None:
    for shop_id in (1, 2, 3):
        demo.execute("INSERT INTO pending_invalidations (shop_id, slug, version) VALUES (%s, 'a', 7)", [shop_id])
    floors = keys.of_shop(shop.id).floors
    await redis.delete(floors)
    await redis.set(floors, "not a hash", ex=60)
    with pytest.raises(CacheUnavailable):
        await replay_invalidations(resources)
    assert demo.execute("SELECT shop_id FROM pending_invalidations").fetchall() == [(shop.id,)]
    await redis.delete(floors)
    assert await replay_invalidations(resources) == 1


async def test_replay_goes_on_until_nothing_is_pending(resources: Resources, demo: Demo) -> None:
    for shop_id, slug in [(1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "b")]:
        demo.execute("INSERT INTO pending_invalidations (shop_id, slug, version) VALUES (%s, %s, 7)", [shop_id, slug])
    assert await replay_invalidations(resources, batch_size=2) == 5
    assert pending(demo) == []


async def test_slow_writes_leave_connections_to_readers(
    settings: Settings, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def wait_for_ever(_seconds: float) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(write_module, "asyncio", SimpleNamespace(sleep=wait_for_ever))
    async with open_resources(
        settings.model_copy(update={"redis_url": own_valkey.url}), redis_circuit_breaker=True
    ) as resources:
        assert resources.redis.breaker
        own_valkey.kill()
        with pytest.raises(CacheUnavailable):
            await resources.redis.batched_reader.get("k")
        writes = [asyncio.create_task(rename(resources, shop, registry[0])) for _ in range(15)]
        try:
            await wait_until(resources.slow_writes.locked)
            for _ in range(20):
                assert (await RegistryReader(resources).read(shop.id, registry[1])).entry.body
            assert not any(write.done() for write in writes)
        finally:
            for write in writes:
                write.cancel()
            await asyncio.gather(*writes, return_exceptions=True)


async def test_replaying_invalidations_twice_informs_redis_once(
    resources: Resources, demo: Demo, shop: ShopRef, registry: Registry
) -> None:
    demo.execute("INSERT INTO pending_invalidations VALUES (%s, %s, 7)", [shop.id, registry[1]])
    assert [await replay_invalidations(resources) for _ in range(2)] == [1, 0]
