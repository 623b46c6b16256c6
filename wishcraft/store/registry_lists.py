"""Lists of registries with keyset pagination, each scoped to one shop."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Date, Row, Text, func, literal, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.folding import fold
from wishcraft.domain.private_fields import PrivateFields
from wishcraft.domain.registries import EventType, ItemStatus, RegistryStatus, Visibility
from wishcraft.domain.registry_lists import EXACT_TOTAL, ListSort, Position, Total
from wishcraft.domain.registry_payload import Summary, Sums
from wishcraft.domain.share_links import share_template
from wishcraft.store import private_fields
from wishcraft.store.schema import Registry, RegistryItem, Shop
from wishcraft.store.schema.registries import EVENT_DAY, NAME

_MAX_WORDS: Final = 6
_BETWEEN_WORDS: Final = re.compile(
    r"[\s,.;:!?/|\"(){}<>\[\]&+\-\u00ab\u00bb\u00b4\u00b7\u2010-\u2015\u201c-\u201f\u2022\u2026\u2212]+"
)
"""White space and punctuation, without apostrophes; an acute accent by itself is typed for one, and ends a word."""
_DAY: Final[ColumnElement[Any]] = literal_column(EVENT_DAY, Date)
_NO_DAY: Final[ColumnElement[Any]] = literal_column("'infinity'::date", Date)
_KEYS: Final = {ListSort.EVENT_DATE: _DAY, ListSort.NAME: literal_column(NAME, Text)}
"""The expressions of the indexes. `NEWEST` sorts by the id alone."""
_IMAGES: Final = func.array_agg(
    aggregate_order_by(RegistryItem.image, RegistryItem.display_order, RegistryItem.id), type_=ARRAY(Text)
).filter(RegistryItem.image.is_not(None))
_ITEMS: Final[ColumnElement[Any]] = (
    select(
        func.json_build_object(
            "image",
            _IMAGES[1],
            "wanted",
            func.coalesce(func.sum(RegistryItem.quantity_wanted), 0),
            "purchased",
            func.coalesce(func.sum(RegistryItem.quantity_purchased), 0),
            "fulfilled",
            func.coalesce(func.sum(func.least(RegistryItem.quantity_wanted, RegistryItem.quantity_purchased)), 0),
        )
    )
    .where(
        RegistryItem.shop_id == Registry.shop_id,
        RegistryItem.registry_id == Registry.id,
        RegistryItem.status != ItemStatus.HIDDEN,
    )
    .correlate(Registry)
    .scalar_subquery()
)
"""The first image and the sums of a registry's items; PostgreSQL computes it after the limit, for the page alone."""
_SHOP: Final = {
    name: select(column).where(Shop.id == Registry.shop_id).correlate(Registry).scalar_subquery()
    for name, column in {"domain": Shop.domain, "settings": Shop.settings}.items()
}
_SUMMARY: Final[dict[str, ColumnElement[Any]]] = {
    "id": Registry.id.expression,
    "slug": Registry.slug.expression,
    "title": Registry.title.expression,
    "first_name": Registry.customer_first_name.expression,
    "co_registrants": Registry.co_registrants.expression,
    "event_type": Registry.event_type.expression,
    "event_date": Registry.event_date.expression,
    "items": _ITEMS,
    **_SHOP,
}
_OWN: Final[dict[str, ColumnElement[Any]]] = {
    **private_fields.COLUMNS,
    "visibility": Registry.visibility.expression,
    "status": Registry.status.expression,
}
_Conditions = tuple[ColumnElement[bool], ...]
Listed = TypeVar("Listed")


class Search(NamedTuple):
    """Filters of a guest's search; None does not filter."""

    words: str | None = None
    """Each word must occur, as folded by `domain.folding`, in the title or a registrant's first name."""
    event_type: EventType | None = None
    event_from: date | None = None
    event_to: date | None = None
    """Both days included."""


class PageRequest(NamedTuple):
    """Which page of a list."""

    limit: int
    sort: ListSort = ListSort.NEWEST
    after: Position | None = None
    """Where the previous page ended; None for the first page."""


class OwnRegistry(NamedTuple):
    """A registry in its registrant's own list."""

    summary: Summary
    visibility: Visibility
    status: RegistryStatus
    private: PrivateFields


class Page(NamedTuple, Generic[Listed]):
    """A page of a list."""

    registries: Sequence[Listed]
    end: Position | None
    """Where the next page begins; None on the last page."""
    total: Total
    """Of the whole list."""


async def list_public(
    session: AsyncSession, shop_id: int, request: PageRequest, search: Search, shopify_origin: str
) -> Page[Summary]:
    """The shop's public active registries that match the search."""
    listed = (
        Registry.shop_id == shop_id,
        Registry.visibility == Visibility.PUBLIC,
        Registry.status == RegistryStatus.ACTIVE,
        *_conditions(search),
    )
    rows, end = await _read(session, _SUMMARY, listed, request)
    summaries = [_summary(row, shopify_origin) for row in rows]
    return Page(summaries, end, await _count(session, listed, request, len(rows), end))


async def list_own(
    session: AsyncSession,
    shop_id: int,
    customer_id: int,
    request: PageRequest,
    shopify_origin: str,
    statuses: Sequence[RegistryStatus] = (),
) -> Page[OwnRegistry]:
    """The registries of the customer with one of these statuses; without any, all, archived ones included."""
    listed: _Conditions = (Registry.shop_id == shop_id, Registry.customer_id == customer_id)
    if statuses:
        listed += (Registry.status.in_(statuses),)
    rows, end = await _read(session, _SUMMARY | _OWN, listed, request)
    registries = [OwnRegistry(_summary(row, shopify_origin), row.visibility, row.status, _private(row)) for row in rows]
    return Page(registries, end, await _count(session, listed, request, len(rows), end))


def _conditions(search: Search) -> _Conditions:
    conditions: list[ColumnElement[bool]] = []
    query = (search.words or "").replace("\0", " ").strip()
    words = [folded for word in _BETWEEN_WORDS.split(query) if (folded := fold(word).strip())]
    if query and not words:  # punctuation alone
        words = [fold(query).strip() or query]
    conditions += [Registry.search_text.contains(word, autoescape=True) for word in words[:_MAX_WORDS]]
    if search.event_type:
        conditions.append(Registry.event_type == search.event_type)
    if search.event_from:
        conditions += [search.event_from <= _DAY, _DAY < _NO_DAY]
    if search.event_to:
        conditions.append(search.event_to >= _DAY)
    return tuple(conditions)


async def _read(
    session: AsyncSession, columns: Mapping[str, ColumnElement[Any]], listed: _Conditions, request: PageRequest
) -> tuple[Sequence[Row[Any]], Position | None]:
    """The rows of the page, and its end."""
    key = _KEYS.get(request.sort)
    query = select(*(column.label(name) for name, column in columns.items())).where(*listed)
    query = query.order_by(Registry.id.desc()) if key is None else query.order_by(key, Registry.id)
    if request.after:
        query = query.where(_is_behind(request.sort, request.after))
    if key is not None and request.sort is ListSort.NAME:
        query = query.add_columns(key.label("sort_key"))
    rows = (await session.execute(query.limit(request.limit + 1))).all()
    # One more than the limit: if it exists, there is a next page.
    shown = rows[: request.limit]
    return shown, _position(request.sort, shown[-1]) if len(rows) > request.limit else None


def _is_behind(sort: ListSort, position: Position) -> ColumnElement[bool]:
    """A row comparison, which the index of the order answers."""
    if sort is ListSort.NEWEST:
        return Registry.id < position.id
    key: ColumnElement[Any] = literal(position.key, Text)
    if sort is ListSort.EVENT_DATE:
        key = literal(date.fromisoformat(position.key)) if position.key else _NO_DAY
    return tuple_(_KEYS[sort], Registry.id) > tuple_(key, literal(position.id))


def _position(sort: ListSort, row: Row[Any]) -> Position:
    key = None
    if sort is ListSort.NAME:
        key = row.sort_key
    elif sort is ListSort.EVENT_DATE and row.event_date:
        key = row.event_date.isoformat()
    return Position(key, row.id)


async def _count(
    session: AsyncSession, listed: _Conditions, request: PageRequest, shown: int, end: Position | None
) -> Total:
    """The total of the list, which needs no query if the page is all of it."""
    if request.after is None and end is None:
        return Total(shown, is_exact=True)
    counted = select(literal(1)).where(*listed).limit(EXACT_TOTAL + 1).subquery()
    count = (await session.execute(select(func.count()).select_from(counted))).scalar_one()
    return Total(min(count, EXACT_TOTAL), is_exact=count <= EXACT_TOTAL)


def _summary(row: Row[Any], shopify_origin: str) -> Summary:
    items = row.items
    sums = Sums(items["wanted"], items["purchased"], items["fulfilled"])
    share_url = share_template(row.settings.share_url, row.domain, shopify_origin).replace("{slug}", row.slug)
    return Summary(
        row.id, row.slug, row.title, row.first_name, row.co_registrants, row.event_type, row.event_date,
        share_url, items["image"], sums,
    )  # fmt: skip


def _private(row: Row[Any]) -> PrivateFields:
    return PrivateFields._make(getattr(row, name) for name in PrivateFields._fields)
