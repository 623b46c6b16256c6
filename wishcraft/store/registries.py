"""Queries on registries, each scoped to one shop.

What writes a registry takes a `WriteSession`, which `services.registries.write.registry_write` alone makes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple, NewType

from sqlalchemy import ARRAY, BigInteger, Text, any_, bindparam, delete, exists, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.registries import EventType, ItemStatus, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.domain.share_links import share_template
from wishcraft.errors import ShopErased
from wishcraft.store.customers import lock_name
from wishcraft.store.engine import Database
from wishcraft.store.schema import (
    Lock,
    MergedCustomer,
    Purchase,
    Registry,
    RegistryItem,
    Shop,
    ShopSettings,
    UnmatchedLine,
)
from wishcraft.store.schema.registries import PURCHASER_COLUMNS, CoRegistrant
from wishcraft.store.statements import Call, Rows, Statement

DAYS_OF_VIEWS: Final = 7
"""Registries are ranked by their views of this many days, today included."""

WriteSession = NewType("WriteSession", AsyncSession)
"""A session within `registry_write`, which bumps versions and invalidates the cache before it commits."""


class CurrentVersion(NamedTuple):
    """A registry's slug, and the version of a current cache entry."""

    slug: str
    version: int


class NewRegistry(NamedTuple):
    """The columns of a registry that is created."""

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
    """A registry whose row is locked, with its shop's settings."""

    id: int
    slug: str
    version: int
    title: str
    event_date: date | None
    visibility: Visibility
    status: RegistryStatus
    owner: int | None
    has_code: bool
    shop: str
    """The shop's domain."""
    currency: str
    settings: ShopSettings


class CustomerFacts(NamedTuple):
    """Row read by `lock_customer`, for a creation."""

    next_id: int
    """An id for the registry."""
    settings: ShopSettings
    """Of the shop."""
    registered: int
    """Number of the customer's registries that are not archived."""
    is_merged: bool
    """Whether the customer was merged into another, who owns the registries."""


class NamedRegistry(NamedTuple):
    """Slug, which never changes, and owner of a registry with a known id.

    The owner changes when customers are merged, and is redacted when the customer is erased.
    """

    slug: str
    owner: int | None


class AccessFacts(NamedTuple):
    """The columns that decide who may read a registry."""

    visibility: Visibility
    status: RegistryStatus
    access_code_hash: str | None


_REGISTRY_FACTS: Final = (
    select(
        Registry.co_registrants, Shop.settings, Shop.domain,
        Registry.id, Registry.slug, Registry.version, Registry.title, Registry.description, Registry.event_type,
        Registry.event_date, Registry.customer_first_name, Registry.visibility, Registry.status,
        Registry.customer_id, Shop.currency,
    )
    .join(Shop, Shop.id == Registry.shop_id)
    .where(Registry.shop_id == bindparam("shop_id"), Registry.slug == any_(bindparam("slugs", type_=ARRAY(Text))))
)  # fmt: skip
_NAMED: Final = Statement(
    select(Registry.slug, Registry.customer_id).where(
        Registry.shop_id == bindparam("shop_id"), Registry.id == bindparam("registry_id")
    )
)
_ITEM_FACTS: Final = (
    select(*(getattr(RegistryItem, name) for name in ItemFacts._fields))
    .where(
        RegistryItem.shop_id == bindparam("shop_id"),
        RegistryItem.registry_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
        RegistryItem.status != ItemStatus.HIDDEN,
    )
    .order_by(RegistryItem.registry_id, RegistryItem.display_order, RegistryItem.id)
)
_BUMP: Final = Statement(
    text("""
WITH bumped AS (
    UPDATE registries SET version = version + 1, updated_at = now()
    WHERE shop_id = :shop_id AND id = ANY(CAST(:registry_ids AS bigint[]))
    RETURNING id, slug, version
)
SELECT CAST(b.id AS bigint), CAST(b.slug AS text), CAST(b.version AS bigint), c.timeout
FROM (SELECT set_config('transaction_timeout', :limit, true) AS timeout) c LEFT JOIN bumped b ON true
""")
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

_ONE: Final = select(
    Registry.id, Registry.slug, Registry.version, Registry.title, Registry.event_date, Registry.visibility,
    Registry.status, Registry.customer_id, Registry.access_code_hash.is_not(None), Shop.domain, Shop.currency,
    Shop.settings,
).join(Shop, Shop.id == Registry.shop_id)  # fmt: skip
"""The columns of `LockedRegistry`."""
_LOCK_ONE: Final = Statement(
    _ONE.where(Registry.shop_id == bindparam("shop_id"), Registry.slug == bindparam("slug")).with_for_update(
        of=Registry
    )
)
_EACH: Final = (
    select(Registry.id, Registry.slug, Registry.version)
    .where(Registry.shop_id == bindparam("shop_id"), Registry.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
    .order_by(Registry.id)
    .with_for_update()
)
_LOCK_EACH: Final = Statement(_EACH)
_LOCK_CUSTOMER: Final = Statement(insert(Lock).values(name=bindparam("name")))
_CUSTOMER: Final = Statement(
    select(
        func.nextval("registries_id_seq", type_=BigInteger),
        Shop.settings,
        select(func.count())
        .where(
            Registry.shop_id == bindparam("shop_id"),
            Registry.customer_id == bindparam("customer_id"),
            Registry.status != RegistryStatus.ARCHIVED,
        )
        .scalar_subquery(),
        exists().where(
            MergedCustomer.shop_id == bindparam("shop_id"), MergedCustomer.deleted_id == bindparam("customer_id")
        ),
    )
    .where(Shop.id == bindparam("shop_id"))
    .with_for_update(read=True, key_share=True, of=Shop)  # an erasure of the shop comes before, or finds the registry
    .add_cte(delete(Lock).where(Lock.name == bindparam("name")).returning(Lock.name).cte())
)
_NEW: Final[dict[str, Any]] = {name: bindparam(name) for name in ("shop_id", "id", *NewRegistry._fields)}
_ADD: Final = Statement(insert(Registry).values(dict(_NEW, version=0)))


async def find_facts(
    session: AsyncSession, shop_id: int, slugs: Sequence[str], shopify_origin: str
) -> list[tuple[RegistryFacts, list[ItemFacts]]]:
    """The registries with these slugs, each with its items in display order; two queries for any number.

    Unknown slugs are left out. The session must be a repeatable read, or a version may not belong to its items.
    """
    rows = await session.execute(_REGISTRY_FACTS, {"shop_id": shop_id, "slugs": list(slugs)})
    registries = [_facts(shopify_origin, *row) for row in rows]
    items: defaultdict[int, list[ItemFacts]] = defaultdict(list)
    ids = [registry.id for registry in registries]
    for row in await session.execute(_ITEM_FACTS, {"shop_id": shop_id, "ids": ids}):
        items[row[0]].append(ItemFacts(*row))
    return [(registry, items[registry.id]) for registry in registries]


def _facts(
    origin: str, co_registrants: list[CoRegistrant], settings: ShopSettings, domain: str, *facts: Any
) -> RegistryFacts:
    names = [each["first_name"] for each in co_registrants]
    registry = RegistryFacts._make((*facts, names, settings.low_stock_threshold, ""))
    template = share_template(settings.share_url, domain, origin)
    return registry._replace(share_url=template.replace("{slug}", registry.slug))


async def find_active_versions(session: AsyncSession, shop_id: int, limit: int) -> list[CurrentVersion]:
    """The shop's active registries, most viewed first, `limit` at most."""
    rows = await session.execute(_ACTIVE_VERSIONS, {"shop_id": shop_id, "limit": limit, "days": DAYS_OF_VIEWS})
    return [CurrentVersion._make(row) for row in rows.all()]


async def count_active(session: AsyncSession, shop_id: int) -> int:
    """Number of the shop's active registries."""
    query = select(func.count()).where(Registry.shop_id == shop_id, Registry.status == RegistryStatus.ACTIVE)
    return (await session.execute(query)).scalar_one()


async def find_versions_changed(session: AsyncSession, shop_id: int, within: timedelta) -> list[CurrentVersion]:
    """The shop's active registries that changed within this time."""
    query = select(Registry.slug, Registry.version).where(
        Registry.shop_id == shop_id,
        Registry.status == RegistryStatus.ACTIVE,
        Registry.updated_at > func.now() - within,
    )
    return [CurrentVersion(*row) for row in await session.execute(query)]


async def find_named(db: Database, shop_id: int, registry_id: int) -> NamedRegistry | None:
    """The shop's registry with this id."""
    rows = await db.fetch(_NAMED(shop_id=shop_id, registry_id=registry_id))
    return NamedRegistry._make(rows[0]) if rows else None


async def find_access(session: AsyncSession, shop_id: int, slug: str, *, lock: bool = False) -> AccessFacts | None:
    """The access rule of the shop's registry with this slug; `lock` holds a share lock on its row until the commit."""
    query = select(Registry.visibility, Registry.status, Registry.access_code_hash).where(
        Registry.shop_id == shop_id, Registry.slug == slug
    )
    row = (await session.execute(query.with_for_update(read=True) if lock else query)).one_or_none()
    return AccessFacts(*row) if row else None


async def find_one(session: AsyncSession, shop_id: int, slug: str) -> LockedRegistry | None:
    """As `lock_one`, without the lock: another transaction may change the registry meanwhile."""
    row = (await session.execute(_ONE.where(Registry.shop_id == shop_id, Registry.slug == slug))).one_or_none()
    return LockedRegistry._make(row) if row else None


def lock_one(shop_id: int, slug: str) -> Call:
    """Lock the row of the shop's registry with this slug; a row is a `LockedRegistry`."""
    return _LOCK_ONE(shop_id=shop_id, slug=slug)


def lock_each(shop_id: int, registry_ids: Sequence[int]) -> Call:
    """Lock the registries' rows in the order of their ids, so that two writers never deadlock."""
    return _LOCK_EACH(shop_id=shop_id, ids=list(registry_ids))


def read_versions(rows: Iterable[Sequence[Any]]) -> dict[int, CurrentVersion]:
    """The slugs and versions by id, of the rows of `lock_each` and of `bump_versions`."""
    return {row[0]: CurrentVersion(row[1], row[2]) for row in rows if row[0] is not None}  # none was bumped


async def lock(session: WriteSession, shop_id: int, registry_ids: Sequence[int]) -> dict[int, CurrentVersion]:
    """As `lock_each`, of registries that are found later; their versions by id."""
    return read_versions((await session.execute(_EACH, {"shop_id": shop_id, "ids": list(registry_ids)})).all())


async def find_ids(session: AsyncSession, shop_id: int, slugs: Collection[str]) -> set[int]:
    """The ids of the registries with these slugs."""
    query = select(Registry.id).where(Registry.shop_id == shop_id, Registry.slug.in_(slugs))
    return set(await session.scalars(query)) if slugs else set()


def lock_customer(shop_id: int, customer_id: int) -> list[Call]:
    """Lock the customer's registries against another creation; the row of the last statement is a `CustomerFacts`.

    The customer's other creations wait for the end of this transaction: they insert the same row into `locks`. It is
    deleted at once, which makes no difference to them. So does a merge of the customer, as with `customers.hold`.
    """
    name = lock_name(shop_id, customer_id)
    return [_LOCK_CUSTOMER(name=name), _CUSTOMER(name=name, shop_id=shop_id, customer_id=customer_id)]


def read_customer(rows: Rows) -> CustomerFacts:
    """The row of the last statement of `lock_customer`.

    Raises:
        ShopErased: The shop has no row.
    """
    if not rows:
        raise ShopErased
    return CustomerFacts._make(rows[0])


def add(shop_id: int, registry_id: int, new: NewRegistry) -> Call:
    """Insert a registry at version 0, which the write bumps to 1; its id is that of `CustomerFacts`."""
    return _ADD(shop_id=shop_id, id=registry_id, **new._asdict())


async def update_columns(session: WriteSession, shop_id: int, registry_id: int, values: Mapping[str, Any]) -> set[str]:
    """Set these columns of a locked registry; the names of those that had another value."""
    if not values:
        return set()
    where = (Registry.shop_id == shop_id, Registry.id == registry_id)
    current = (await session.execute(select(*(getattr(Registry, name) for name in values)).where(*where))).one()
    changed = {name: value for (name, value), old in zip(values.items(), current, strict=True) if value != old}
    if changed:
        await session.execute(update(Registry).where(*where).values(**changed))
    return set(changed)


async def delete_one(session: WriteSession, shop_id: int, registry_id: int) -> None:
    """Delete a registry with all rows that refer to it, except its purchases, which lose all names.

    Its slug, which has a part of its title, is in no claim of an order any more.
    """
    slug = select(Registry.slug).where(Registry.shop_id == shop_id, Registry.id == registry_id).scalar_subquery()
    claims = (UnmatchedLine.shop_id == shop_id, UnmatchedLine.claim == slug)
    await session.execute(update(UnmatchedLine).where(*claims).values(claim=""))
    nameless = dict.fromkeys(("item_id", *PURCHASER_COLUMNS))
    bought = (Purchase.shop_id == shop_id, Purchase.registry_id == registry_id)
    await session.execute(update(Purchase).where(*bought).values(nameless))
    await session.execute(delete(Registry).where(Registry.shop_id == shop_id, Registry.id == registry_id))


async def delete_many(session: WriteSession, shop_id: int, registry_ids: Sequence[int]) -> None:
    """Delete registries of a shop without a trace, with all rows that refer to them."""
    where = (Registry.shop_id == shop_id, Registry.id.in_(registry_ids))
    await session.execute(delete(Registry).where(*where))


def bump_versions(shop_id: int, registry_ids: Sequence[int], limit_seconds: int) -> Call:
    """Raise the registries' versions by one; `read_versions` reads the new ones, except of those that do not exist.

    From here on PostgreSQL rolls the transaction back unless it ends within `limit_seconds`: the floor that the caller
    sets in Redis next outlives every writer.
    """
    return _BUMP(shop_id=shop_id, registry_ids=list(registry_ids), limit=f"{limit_seconds}s")
