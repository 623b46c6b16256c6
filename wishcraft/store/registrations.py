"""What registrants write: their registries, each scoped to one shop."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.registries import EventType, RegistryStatus, Visibility
from wishcraft.store.schema import Registry, Shop, ShopSettings
from wishcraft.store.schema.registries import CoRegistrant


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
