"""Queries about registries, each scoped to one shop."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    Text,
    any_,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.registries import EventType, ItemStatus, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.store.schema import Registry, RegistryItem, Shop, ShopSettings
from wishcraft.store.schema.registries import CoRegistrant

DAYS_OF_VIEWS: Final = 7
"""Views of so many days, today among them, tell the most viewed."""


class CurrentVersion(NamedTuple):
    """A registry's slug, and the version that a cache entry must have to be current."""

    slug: str
    version: int


_REGISTRY_FACTS: Final = (
    select(
        Registry.co_registrants, Shop.settings,
        Registry.id, Registry.slug, Registry.version, Registry.title, Registry.description, Registry.event_type,
        Registry.event_date, Registry.customer_first_name, Registry.visibility, Registry.status,
        Registry.customer_id, Shop.currency,
    )
    .join(Shop, Shop.id == Registry.shop_id)
    .where(Registry.shop_id == bindparam("shop_id"), Registry.slug == any_(bindparam("slugs", type_=ARRAY(Text))))
)  # fmt: skip
_ITEM_FACTS: Final = (
    select(*(getattr(RegistryItem, name) for name in ItemFacts._fields))
    .where(
        RegistryItem.shop_id == bindparam("shop_id"),
        RegistryItem.registry_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
        RegistryItem.status != ItemStatus.HIDDEN,
    )
    .order_by(RegistryItem.registry_id, RegistryItem.display_order, RegistryItem.id)
)
_ACTIVE_VERSIONS: Final = text("""
SELECT r.slug, r.version
FROM registries r LEFT JOIN (
    SELECT registry_id, sum(views) AS views FROM registry_views
    WHERE shop_id = :shop_id AND day > current_date - :days
    GROUP BY registry_id
) v ON v.registry_id = r.id
WHERE r.shop_id = :shop_id AND r.status = 'active'
ORDER BY coalesce(v.views, 0) DESC, r.id DESC
LIMIT :limit
""")


async def find_facts(
    session: AsyncSession, shop_id: int, slugs: Sequence[str]
) -> list[tuple[RegistryFacts, list[ItemFacts]]]:
    """The registries with these slugs, each with its items in display order; two queries, whatever the number.

    Slugs that name nothing are left out. Call it in a snapshot, or a version may not belong to its items.
    """
    registries = await find_registries(session, shop_id, slugs)
    items: defaultdict[int, list[ItemFacts]] = defaultdict(list)
    ids = [registry.id for registry in registries]
    for row in await session.execute(_ITEM_FACTS, {"shop_id": shop_id, "ids": ids}):
        items[row[0]].append(ItemFacts(*row))
    return [(registry, items[registry.id]) for registry in registries]


async def find_registries(session: AsyncSession, shop_id: int, slugs: Sequence[str]) -> list[RegistryFacts]:
    """The registries with these slugs, in one query; slugs that name nothing are left out."""
    rows = await session.execute(_REGISTRY_FACTS, {"shop_id": shop_id, "slugs": list(slugs)})
    return [_facts(*row) for row in rows]


def _facts(co_registrants: list[CoRegistrant], settings: ShopSettings, *facts: Any) -> RegistryFacts:
    names = [each["first_name"] for each in co_registrants]
    return RegistryFacts._make((*facts, names, settings.low_stock_threshold))


async def find_active_versions(session: AsyncSession, shop_id: int, limit: int) -> list[CurrentVersion]:
    """The shop's active registries, most viewed of late first, `limit` of them at most."""
    rows = await session.execute(_ACTIVE_VERSIONS, {"shop_id": shop_id, "limit": limit, "days": DAYS_OF_VIEWS})
    return [CurrentVersion._make(row) for row in rows.all()]


async def find_versions_changed(session: AsyncSession, shop_id: int, within: timedelta) -> list[CurrentVersion]:
    """The shop's active registries that changed of late."""
    query = select(Registry.slug, Registry.version).where(
        Registry.shop_id == shop_id,
        Registry.status == RegistryStatus.ACTIVE,
        Registry.updated_at > func.now() - within,
    )
    return [CurrentVersion(*row) for row in await session.execute(query)]


async def find_slug(session: AsyncSession, shop_id: int, registry_id: int) -> str | None:
    """The slug of the shop's registry with this id."""
    query = select(Registry.slug).where(Registry.shop_id == shop_id, Registry.id == registry_id)
    return (await session.execute(query)).scalar_one_or_none()


async def bump_versions(
    session: AsyncSession, shop_id: int, registry_ids: Sequence[int], write_limit_seconds: int
) -> dict[str, int]:
    """Give each registry its next version, and return these by slug: mark the cache with them before the commit.

    From here the transaction has `write_limit_seconds` to end, or PostgreSQL rolls it back: a mark outlives its writer.
    """
    await limit_time(session, write_limit_seconds)
    query = (
        update(Registry)
        .where(Registry.shop_id == shop_id, Registry.id.in_(registry_ids))
        .values(version=Registry.version + 1, updated_at=func.now(), unmarked=False)
        .returning(Registry.slug, Registry.version)
    )
    return {slug: version for slug, version in await session.execute(query)}  # noqa: C416  rows are not pairs to mypy


async def limit_time(session: AsyncSession, seconds: int) -> None:
    """Let PostgreSQL roll the transaction back if it has not ended in so many seconds from its begin."""
    await session.execute(text(f"SET LOCAL transaction_timeout = '{seconds}s'"))


async def lock(session: AsyncSession, shop_id: int, registry_ids: Sequence[int]) -> None:
    """Lock the registries' rows in the order of their ids, so that two that lock several never wait for each other."""
    query = (
        select(Registry.id)
        .where(Registry.shop_id == shop_id, Registry.id.in_(registry_ids))
        .order_by(Registry.id)
        .with_for_update()
    )
    await session.execute(query)


class NewRegistry(NamedTuple):
    """What a registry begins with."""

    slug: str
    title: str
    description: str
    event_type: EventType
    event_date: date | None
    event_location: str | None
    visibility: Visibility
    access_code_hash: str | None
    customer_id: int
    customer_email: str
    customer_first_name: str
    customer_last_name: str
    co_registrants: list[CoRegistrant]


class LockedRegistry(NamedTuple):
    """A registry that nobody else can change until the transaction ends, and its shop's settings."""

    id: int
    slug: str
    version: int
    visibility: Visibility
    status: RegistryStatus
    owner: int | None
    has_code: bool
    shop: str
    """Its domain."""
    currency: str
    settings: ShopSettings


class CodeFacts(NamedTuple):
    """What must be known to let someone in with an access code."""

    visibility: Visibility
    status: RegistryStatus
    access_code_hash: str | None


_UNMARKED: Final = text("""
SELECT shop_id, slug, version FROM registries WHERE unmarked ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")


async def lock_one(session: AsyncSession, shop_id: int, slug: str) -> LockedRegistry | None:
    """The shop's registry with this slug, its row locked."""
    row = (await session.execute(_one(shop_id, slug).with_for_update(of=Registry))).one_or_none()
    return LockedRegistry._make(row) if row else None


async def find_one(session: AsyncSession, shop_id: int, slug: str) -> LockedRegistry | None:
    """The same, but not locked: it may be another when this returns."""
    row = (await session.execute(_one(shop_id, slug))).one_or_none()
    return LockedRegistry._make(row) if row else None


def _one(shop_id: int, slug: str) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Registry.id, Registry.slug, Registry.version, Registry.visibility, Registry.status, Registry.customer_id,
            Registry.access_code_hash.is_not(None), Shop.domain, Shop.currency, Shop.settings,
        )
        .join(Shop, Shop.id == Registry.shop_id)
        .where(Registry.shop_id == shop_id, Registry.slug == slug)
    )  # fmt: skip


async def lock_shop(session: AsyncSession, shop_id: int, customer_id: int) -> tuple[ShopSettings, int]:
    """The shop's settings, and how many registries the customer has; another creation of theirs waits from here on."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"create:{shop_id}:{customer_id}"}
    )
    count = select(func.count()).where(Registry.shop_id == shop_id, Registry.customer_id == customer_id)
    query = select(Shop.settings, count.scalar_subquery()).where(Shop.id == shop_id)
    settings, registries = (await session.execute(query)).one()
    return settings, registries


async def add(session: AsyncSession, shop_id: int, new: NewRegistry) -> int:
    """Insert it, at version 1; its id."""
    statement = insert(Registry).values(shop_id=shop_id, **new._asdict()).returning(Registry.id)
    return int((await session.execute(statement)).scalar_one())


async def change(session: AsyncSession, shop_id: int, registry_id: int, values: Mapping[str, Any]) -> None:
    """Write these columns."""
    if values:
        where = (Registry.shop_id == shop_id, Registry.id == registry_id)
        await session.execute(update(Registry).where(*where).values(**values))


async def find_code(session: AsyncSession, shop_id: int, slug: str, *, hold: bool = False) -> CodeFacts | None:
    """What opens the shop's registry with this slug; `hold` keeps it so until the transaction ends."""
    query = select(Registry.visibility, Registry.status, Registry.access_code_hash).where(
        Registry.shop_id == shop_id, Registry.slug == slug
    )
    row = (await session.execute(query.with_for_update(read=True) if hold else query)).one_or_none()
    return CodeFacts(*row) if row else None


async def note_unmarked(session: AsyncSession, shop_id: int, registry_ids: list[int]) -> None:
    """Write down that the cache has still to be told of these registries' versions."""
    where = (Registry.shop_id == shop_id, Registry.id.in_(registry_ids))
    await session.execute(update(Registry).where(*where).values(unmarked=True))


async def lock_unmarked(session: AsyncSession, limit: int) -> dict[int, dict[str, int]]:
    """The versions, by shop and slug, that the cache has still to be told of; their rows are locked."""
    found: dict[int, dict[str, int]] = {}
    for shop_id, slug, version in await session.execute(_UNMARKED, {"limit": limit}):
        found.setdefault(shop_id, {})[slug] = version
    return found


async def note_marked(session: AsyncSession, shop_id: int, slugs: list[str]) -> None:
    """Write down that the cache has been told."""
    where = (Registry.shop_id == shop_id, Registry.slug.in_(slugs))
    await session.execute(update(Registry).where(*where).values(unmarked=False))
