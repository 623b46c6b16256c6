"""Writes of registries, and what is read after them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.support.aliases import Demo
from wishcraft.resources import Resources
from wishcraft.services.registries.write import OnCacheDown, registry_write
from wishcraft.store import registries
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

Registry = tuple[int, str, int]
"""Id, slug and version."""


def of_shop(demo: Demo, shop: ShopRef) -> list[Registry]:
    """The shop's registries."""
    rows = demo.execute("SELECT id, slug, version FROM registries WHERE shop_id = %s ORDER BY id", [shop.id])
    return [(registry_id, slug, version) for registry_id, slug, version in rows]


async def rename(
    resources: Resources, shop: ShopRef, registry_id: int, title: str = "New", on_cache_down: OnCacheDown = "announce"
) -> None:
    """Write a new title."""
    async with registry_write(resources, Actor(shop.id, "test"), [registry_id], on_cache_down=on_cache_down) as write:
        await registries.update_columns(write.session, shop.id, registry_id, {"title": title})
        write.changed(registry_id)


def version(demo: Demo, registry_id: int) -> int:
    """The registry's committed version."""
    row = demo.execute("SELECT version FROM registries WHERE id = %s", [registry_id]).fetchone()
    assert row
    return int(row[0])


def pending(demo: Demo) -> list[tuple[Any, ...]]:
    """Slug and version of each pending invalidation."""
    return demo.execute("SELECT slug, version FROM pending_invalidations ORDER BY slug").fetchall()


def spying(resources: Resources, calls: list[Mapping[str, int]]) -> Resources:
    """Resources whose hook after a write notes the published versions."""

    async def after_write(_shop_id: int, versions: Mapping[str, int]) -> None:
        calls.append(dict(versions))

    return replace(resources, after_write=after_write)
