"""Queries about shops."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVarTuple

from sqlalchemy import Row, Select, case, cast, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import INT8RANGE, Range, insert
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.share_links import share_template
from wishcraft.domain.shops import ShopFacts
from wishcraft.domain.storable_text import is_storable
from wishcraft.errors import ShopErased, ShopifyUnauthorized, UnknownShop
from wishcraft.store.schema import InventoryItem, Shop, ShopSettings
from wishcraft.store.schema.shops import ShopStatus

_SECOND: Final = timedelta(seconds=1)
Columns = TypeVarTuple("Columns")


class TokenAge(NamedTuple):
    """State of an active shop's offline token."""

    shop: str
    has_token: bool
    can_renew: bool
    expires_at: datetime | None


class ShopRef(NamedTuple):
    """A shop without its tokens, for jobs and the API."""

    id: int
    domain: str
    settings: ShopSettings
    currency: str


class Contact(NamedTuple):
    """A shop as its mails address it."""

    name: str
    email: str


class MailSender(NamedTuple):
    """The shop's values that its mails show."""

    name: str
    timezone: str
    settings: ShopSettings
    verified_mail_domain: str | None


class InstalledShop(NamedTuple):
    """A shop, and whether the app is installed in it now."""

    shop: ShopRef
    is_active: bool


class StoredSettings(NamedTuple):
    """A shop's settings, and their version, which grows with each change."""

    settings: ShopSettings
    version: int
    domain: str
    """Of the shop."""
    shopify_origin: str

    @property
    def share_template(self) -> str:
        """The template of share links that is in use: the shop's own, or the default."""
        return share_template(self.settings.share_url, self.domain, self.shopify_origin)


class ShopProfile(NamedTuple):
    """A shop as its administrator sees it."""

    domain: str
    name: str
    currency: str
    timezone: str
    plan: str
    installed_at: datetime
    synced_at: datetime


ALL: Final[Range[int]] = Range()
"""In `Shop.outdated_stock`: all registries, with any stock."""


class OutdatedStock(NamedTuple):
    """Quantities whose registries changed, and the version of the settings when this was read."""

    quantities: Range[int]
    version: int


_COLUMNS = (Shop.id, Shop.domain, Shop.settings, Shop.currency)
_REF = select(*_COLUMNS).where(Shop.status == ShopStatus.ACTIVE)
# Not in the future by PostgreSQL's clock: webhooks would be taken for older than this sync.
_RECORD_SYNC: Final = text("""
UPDATE shops SET synced_at = now(), variants_read_at = CASE WHEN CAST(:read_at AS timestamptz) IS NULL
    THEN variants_read_at ELSE greatest(variants_read_at, least(:read_at, now())) END
WHERE id = :shop_id
""")


async def find_active(session: AsyncSession, domains: Sequence[str] = ()) -> list[ShopRef]:
    """The active shops with these domains, however they are typed, or all if `domains` is empty; ordered by domain.

    Raises:
        UnknownShop: A domain names no active shop; the message names it.
    """
    wanted = {domain.strip().lower() for domain in domains}
    query = _REF.where(Shop.domain.in_(filter(is_storable, wanted))) if domains else _REF
    shops = [ShopRef(*row) for row in await session.execute(query.order_by(Shop.domain))]
    if missing := wanted - {shop.domain for shop in shops}:
        if "" in missing:
            raise UnknownShop("no shop is named: choose one such as maple-and-pine.myshopify.com")
        named = ", ".join(map(repr, sorted(missing)))
        raise UnknownShop(f"no active shop has the domain {named}: name one such as maple-and-pine.myshopify.com")
    return shops


async def find_installed(session: AsyncSession, domain: str) -> InstalledShop | None:
    """The shop with this domain that has installed the app, now or once; None if there is none."""
    row = (await session.execute(select(*_COLUMNS, Shop.status).where(Shop.domain == domain))).one_or_none()
    return InstalledShop(ShopRef(*row[:-1]), row.status == ShopStatus.ACTIVE) if row else None


async def find_domains(session: AsyncSession, shop_ids: Iterable[int]) -> dict[int, str]:
    """The domains of these shops, with the app or without; those that exist, by id."""
    rows = await session.execute(select(Shop.id, Shop.domain).where(Shop.id.in_(list(shop_ids))))
    return {row.id: row.domain for row in rows}


async def find_by_domain(session: AsyncSession, domain: str) -> ShopRef | None:
    """The active shop with this domain, or None."""
    row = (await session.execute(_REF.where(Shop.domain == domain))).one_or_none()
    return ShopRef(*row) if row else None


async def find_authorised(session: AsyncSession, domain: str, since: datetime | None) -> ShopRef | None:
    """The active shop with this domain, if it has a token that can be renewed, and was installed `since` then."""
    query = _REF.where(Shop.domain == domain, Shop.refresh_token_encrypted.is_not(None))
    row = (await session.execute(query if since is None else query.where(Shop.installed_at >= since))).one_or_none()
    return ShopRef(*row) if row else None


async def install(
    session: AsyncSession, domain: str, facts: ShopFacts, plan: str, token: Mapping[str, Any], at: datetime
) -> tuple[ShopRef, bool]:
    """Store the shop as installed at this time; the shop, and whether it was not installed before.

    What is known of its stock by location counts as outdated: no webhook reported it while the app was not installed.

    Args:
        session: A transaction.
        domain: Its `*.myshopify.com` domain.
        facts: As Shopify described it after `at`.
        plan: The name of its plan.
        token: `TokenVault.columns` of its new token.
        at: A time before the token was issued, at which the app was installed: in whole seconds, by Shopify's clock.

    Raises:
        ShopifyUnauthorized: The app was uninstalled since `at`.
    """
    query = select(Shop.status, Shop.currency, Shop.uninstalled_at).where(Shop.domain == domain)
    before = (await session.execute(query.with_for_update())).one_or_none()
    if before and before.uninstalled_at and at + _SECOND <= before.uninstalled_at:
        raise ShopifyUnauthorized(f"{domain} has uninstalled the app since the issue of the ID token")
    values = {**facts._asdict(), **token, "plan": plan, "status": ShopStatus.ACTIVE}
    values |= {"installed_at": at, "described_at": at.replace(microsecond=0)}  # Shopify's times have whole seconds
    again = dict(values)
    was_installed = before is not None and before.status is ShopStatus.ACTIVE
    if before and not (was_installed and before.currency == facts.currency):
        again |= {"outdated_stock": cast(ALL, INT8RANGE), "settings_version": Shop.settings_version + 1}
    if not was_installed:
        again["synced_at"] = func.now()
    statement = insert(Shop).values(domain=domain, **values)
    upsert = statement.on_conflict_do_update(index_elements=[Shop.domain], set_=again).returning(*_COLUMNS)
    shop = ShopRef(*(await session.execute(upsert)).one())
    await session.execute(update(InventoryItem).where(InventoryItem.shop_id == shop.id).values(levels_read_at=None))
    return shop, not was_installed


async def uninstall(session: AsyncSession, shop_id: int, at: datetime) -> bool:
    """Record that the app was uninstalled at this time, and delete the tokens; False if it was installed since."""
    latest = func.greatest(Shop.uninstalled_at, at)
    await session.execute(update(Shop).where(Shop.id == shop_id).values(uninstalled_at=latest))
    values = {"status": ShopStatus.UNINSTALLED, "access_token_encrypted": None, "refresh_token_encrypted": None}
    where = (Shop.id == shop_id, Shop.installed_at <= at)
    statement = update(Shop).where(*where).values(**values, token_expires_at=None).returning(Shop.id)
    return (await session.execute(statement)).scalar() is not None


async def update_facts(session: AsyncSession, shop_id: int, facts: Mapping[str, str], at: datetime) -> bool:
    """Store what Shopify says of the shop since this time; False if something newer is known.

    `facts` are any of `ShopFacts`. If the currency changes, all registries of the shop are added to `outdated_stock`,
    because their answers name it.
    """
    where = (Shop.id == shop_id, or_(Shop.described_at.is_(None), Shop.described_at <= at))
    values: dict[str, Any] = {**facts, "described_at": at}
    if "currency" in facts:
        is_new = Shop.currency != facts["currency"]
        values["outdated_stock"] = case((is_new, cast(ALL, INT8RANGE)), else_=Shop.outdated_stock)
        values["settings_version"] = case((is_new, Shop.settings_version + 1), else_=Shop.settings_version)
    return (await session.execute(update(Shop).where(*where).values(values).returning(Shop.id))).scalar() is not None


async def find_ids(session: AsyncSession, domains: Iterable[str]) -> dict[str, int]:
    """The ids of the shops with these domains, active or not, by domain; unknown ones are left out."""
    rows = await session.execute(select(Shop.domain, Shop.id).where(Shop.domain.in_(domains)))
    return {row.domain: row.id for row in rows}


async def find_one(session: AsyncSession, shop_id: int) -> ShopRef:
    """The shop.

    Raises:
        ShopErased: It does not exist.
    """
    return ShopRef(*await _find(session, select(*_COLUMNS).where(Shop.id == shop_id)))


async def find_contact(session: AsyncSession, shop_id: int) -> Contact:
    """Name and address of the shop.

    Raises:
        ShopErased: It does not exist.
    """
    return Contact(*await _find(session, select(Shop.name, Shop.email).where(Shop.id == shop_id)))


async def describe(session: AsyncSession, shop_id: int) -> ShopProfile:
    """The shop, as its administrator sees it.

    Raises:
        ShopErased: It does not exist.
    """
    columns = (getattr(Shop, name) for name in ShopProfile._fields)
    return ShopProfile(*await _find(session, select(*columns).where(Shop.id == shop_id)))


async def find_sender(session: AsyncSession, shop_id: int) -> MailSender | None:
    """The shop as its mails show it, active or not; None if it does not exist."""
    query = select(Shop.name, Shop.timezone, Shop.settings, Shop.verified_mail_domain).where(Shop.id == shop_id)
    row = (await session.execute(query)).one_or_none()
    return MailSender(*row) if row else None


async def set_verified_mail_domain(session: AsyncSession, shop_id: int, domain: str | None) -> None:
    """Store from which domain the shop may send mail; a shop that may already is left as it is."""
    is_other = Shop.verified_mail_domain.is_distinct_from(domain)
    await session.execute(update(Shop).where(Shop.id == shop_id, is_other).values(verified_mail_domain=domain))


async def find_settings(session: AsyncSession, shop_id: int) -> ShopSettings:
    """The settings of the shop.

    Raises:
        ShopErased: It does not exist.
    """
    [settings] = await _find(session, select(Shop.settings).where(Shop.id == shop_id))
    return settings


async def find_stored_settings(
    session: AsyncSession, shop_id: int, shopify_origin: str, *, lock: bool = False
) -> StoredSettings:
    """The settings of the shop, with their version; `lock` lets other changes of them wait.

    Raises:
        ShopErased: It does not exist.
    """
    query = select(Shop.settings, Shop.settings_version, Shop.domain).where(Shop.id == shop_id)
    # With `key_share`, registries can be created meanwhile: their foreign keys need the shop's row.
    row = await _find(session, query.with_for_update(key_share=True) if lock else query)
    return StoredSettings(*row, shopify_origin)


async def update_settings(
    session: AsyncSession, shop_id: int, settings: ShopSettings, quantities: range, *, outdate_all: bool
) -> int:
    """Store the settings, and add the quantities whose registries they change to `outdated_stock`; the new version."""
    values: dict[str, object] = {"settings": settings, "settings_version": Shop.settings_version + 1}
    if quantities or outdate_all:
        added = cast(ALL if outdate_all else Range(quantities.start, quantities.stop), INT8RANGE)
        values["outdated_stock"] = func.range_merge(func.coalesce(Shop.outdated_stock, added), added)
    statement = update(Shop).where(Shop.id == shop_id).values(**values).returning(Shop.settings_version)
    return int((await session.execute(statement)).scalar_one())


async def find_outdated_stock(session: AsyncSession, shop_id: int) -> OutdatedStock | None:
    """The quantities that `update_settings` has added and `clear_outdated_stock` has not removed; None without any."""
    query = select(Shop.outdated_stock, Shop.settings_version).where(
        Shop.id == shop_id, Shop.outdated_stock.is_not(None)
    )
    row = (await session.execute(query)).one_or_none()
    return OutdatedStock(row[0], row[1]) if row and row[0] else None


async def await_writers(session: AsyncSession, shop_id: int) -> None:
    """Wait for the transactions that add rows of the shop, or write its stock; those that follow see its settings."""
    await session.execute(select(Shop.id).where(Shop.id == shop_id).with_for_update())


async def clear_outdated_stock(session: AsyncSession, shop_id: int, version: int) -> None:
    """Remove the quantities, unless the settings have changed since this version: then all are outdated again."""
    where = (Shop.id == shop_id, Shop.settings_version == version)
    await session.execute(update(Shop).where(*where).values(outdated_stock=None))


async def record_sync(session: AsyncSession, shop_id: int, read_at: datetime | None) -> None:
    """Record that an inventory sync of the shop has just finished.

    It read all variants at `read_at` or later, or, with None, found the shop closed.
    """
    await session.execute(_RECORD_SYNC, {"shop_id": shop_id, "read_at": read_at})


class OrderReading(NamedTuple):
    """State that decides which orders of a shop are to be read."""

    installed_at: datetime
    read_until: datetime | None
    """See `Shop.orders_read_until`."""


async def find_order_reading(session: AsyncSession, shop_id: int) -> OrderReading:
    """Up to when the orders of the shop have been read.

    Raises:
        ShopErased: It does not exist.
    """
    query = select(Shop.installed_at, Shop.orders_read_until).where(Shop.id == shop_id)
    return OrderReading(*await _find(session, query))


async def record_order_reading(session: AsyncSession, shop_id: int, until: datetime) -> None:
    """Record that the shop's orders have been read up to this time; an earlier one than is recorded changes nothing."""
    latest = func.greatest(Shop.orders_read_until, until)
    await session.execute(update(Shop).where(Shop.id == shop_id).values(orders_read_until=latest))


async def find_token_ages(session: AsyncSession) -> list[TokenAge]:
    """Token states of the active shops, ordered by domain; not the tokens."""
    query = (
        select(
            Shop.domain,
            Shop.access_token_encrypted.is_not(None),
            Shop.refresh_token_encrypted.is_not(None),
            Shop.token_expires_at,
        )
        .where(Shop.status == ShopStatus.ACTIVE)
        .order_by(Shop.domain)
    )
    return [TokenAge(*row) for row in await session.execute(query)]


async def _find(session: AsyncSession, query: Select[*Columns]) -> Row[*Columns]:
    """The shop's row.

    Raises:
        ShopErased: There is none.
    """
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise ShopErased
    return row
