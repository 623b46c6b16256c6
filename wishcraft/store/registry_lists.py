"""Lists of registries with keyset pagination, each scoped to one shop."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Text,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from wishcraft.domain.folding import fold
from wishcraft.domain.private_fields import PrivateFields
from wishcraft.domain.registries import EventType, ItemStatus, RegistryStatus, Visibility
from wishcraft.domain.registry_lists import EXACT_TOTAL, ListSort, Position, Total
from wishcraft.domain.registry_payload import Summary, Sums
from wishcraft.domain.share_links import share_template
from wishcraft.store import private_fields
from wishcraft.store.engine import Database
from wishcraft.store.schema import Registry, RegistryItem, Shop
from wishcraft.store.schema.registries import EVENT_DAY, NAME
from wishcraft.store.statements import Rows, Statement

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
_SHOP: Final = [
    select(column).where(Shop.id == bindparam("shop_id")).scalar_subquery().label(column.key)
    for column in (Shop.domain, Shop.settings)
]
"""Parts of the share links of a list."""
_SUMMARY: Final[dict[str, ColumnElement[Any]]] = {
    "id": Registry.id.expression,
    "slug": Registry.slug.expression,
    "title": Registry.title.expression,
    "first_name": Registry.customer_first_name.expression,
    "co_registrants": Registry.co_registrants.expression,
    "event_type": Registry.event_type.expression,
    "event_date": Registry.event_date.expression,
    "items": _ITEMS,
}
_OWN: Final[dict[str, ColumnElement[Any]]] = {
    **private_fields.COLUMNS,
    "visibility": Registry.visibility.expression,
    "status": Registry.status.expression,
}
_OWN_PLACES: Final = [list(_SUMMARY | _OWN).index(name) for name in ("visibility", "status", *PrivateFields._fields)]
"""The columns of a registrant's list are those of both; some are the same."""
_SLUG, _EVENT_DATE = (list(_SUMMARY).index(name) for name in ("slug", "event_date"))
_SPECIAL: Final = re.compile(r"[/%_]")
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


class ListPage(NamedTuple, Generic[Listed]):
    """A page of a list."""

    registries: Sequence[Listed]
    end: Position | None
    """Where the next page begins; None on the last page."""
    total: Total
    """Of the whole list."""


class _Shape(NamedTuple):
    """Properties of a list that decide its SQL; the rest are parameters."""

    whose: Literal["public", "own"]
    sort: ListSort
    position: str
    """Whether the page begins after a position: empty, or `key`, or `id` for one without a key."""
    filters: frozenset[str]
    words: int


async def list_public(
    db: Database, shop_id: int, request: PageRequest, search: Search, shopify_origin: str
) -> ListPage[Summary]:
    """The shop's public active registries that match the search."""
    words = _words(search)
    filters = frozenset(name for name in Search._fields[1:] if getattr(search, name) is not None)
    values = search._asdict() | {f"word_{n}": _pattern(word) for n, word in enumerate(words)}
    shape = _Shape("public", request.sort, _kind(request), filters, len(words))
    rows, template, end, total = await _read(db, shape, request, values | {"shop_id": shop_id}, shopify_origin)
    return ListPage([_summary(row, template) for row in rows], end, total)


async def list_own(
    db: Database,
    shop_id: int,
    customer_id: int,
    request: PageRequest,
    shopify_origin: str,
    statuses: Sequence[RegistryStatus],
) -> ListPage[OwnRegistry]:
    """The registries of the customer with one of these statuses; without any, all, archived ones included."""
    filters = frozenset({"statuses"} if statuses else ())
    shape = _Shape("own", request.sort, _kind(request), filters, 0)
    values = {"shop_id": shop_id, "customer_id": customer_id, "statuses": [each.value for each in statuses]}
    rows, template, end, total = await _read(db, shape, request, values, shopify_origin)
    return ListPage([OwnRegistry(_summary(row, template), *_own(row)) for row in rows], end, total)


def _words(search: Search) -> list[str]:
    query = (search.words or "").strip()
    words = [folded for word in _BETWEEN_WORDS.split(query) if (folded := fold(word).strip())]
    if query and not words:  # punctuation alone
        words = [fold(query).strip() or query]
    return words[:_MAX_WORDS]


def _pattern(word: str) -> str:
    """The pattern of LIKE for texts that contain the word."""
    escaped = _SPECIAL.sub(r"/\g<0>", word)
    return f"%{escaped}%"


def _kind(request: PageRequest) -> str:
    """The kind of position after which the page begins."""
    if request.after is None:
        return ""
    return "id" if request.after.key is None else "key"


@lru_cache(512)
def _statements(shape: _Shape) -> tuple[Statement, Statement]:
    """The query for a page, and the one for the total of its list and the shop. Other pages need their values alone."""
    key = _KEYS.get(shape.sort)
    listed = _conditions(shape)
    columns = _SUMMARY | (_OWN if shape.whose == "own" else {})
    query = select(*(column.label(name) for name, column in columns.items())).where(*listed)
    query = query.order_by(Registry.id.desc()) if key is None else query.order_by(key, Registry.id)
    if shape.position:
        query = query.where(_is_behind(shape))
    query = query.add_columns((literal(None, Text) if key is None else sql_cast(key, Text)).label("sort_key"))
    counted = select(literal(1)).where(*listed).limit(EXACT_TOTAL + 1).subquery()
    count = select(func.count(), *_SHOP).select_from(counted)
    # The best plan of a search depends on its words and dates.
    is_steady = not shape.words and not shape.filters & {"event_from", "event_to"}
    return Statement(query.limit(bindparam("limit")), prepare=is_steady), Statement(count, prepare=is_steady)


def _conditions(shape: _Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Registry.shop_id == bindparam("shop_id")]
    if shape.whose == "own":
        conditions.append(Registry.customer_id == bindparam("customer_id"))
    else:
        conditions += [Registry.visibility == Visibility.PUBLIC, Registry.status == RegistryStatus.ACTIVE]
    conditions += [Registry.search_text.like(bindparam(f"word_{n}"), escape="/") for n in range(shape.words)]
    each: dict[str, list[ColumnElement[bool]]] = {
        "statuses": [Registry.status == any_(bindparam("statuses", type_=ARRAY(Text)))],
        "event_type": [Registry.event_type == bindparam("event_type")],
        "event_from": [bindparam("event_from", type_=Date) <= _DAY, _DAY < _NO_DAY],
        "event_to": [bindparam("event_to", type_=Date) >= _DAY],
    }
    return conditions + [condition for name in sorted(shape.filters) for condition in each[name]]


async def _read(
    db: Database, shape: _Shape, request: PageRequest, values: Mapping[str, object], shopify_origin: str
) -> tuple[Rows, str, Position | None, Total]:
    """The rows of the page, the template of their share links, the page's end, and the list's total: one round trip."""
    after = request.after or Position(None, 0)
    key = date.fromisoformat(after.key) if after.key and request.sort is ListSort.EVENT_DATE else after.key
    # One more than the limit: if it exists, there is a next page.
    page = {**values, "limit": request.limit + 1, "after_id": after.id, "after_key": key}
    find, count = _statements(shape)
    found, [[counted, domain, settings]] = await db.fetch_each([find(**page), count(**page)])
    shown = found[: request.limit]
    template = share_template(settings.share_url, domain, shopify_origin) if domain else ""  # erased meanwhile
    end = _position(request.sort, shown[-1]) if len(found) > request.limit else None
    return shown, template, end, Total(min(counted, EXACT_TOTAL), is_exact=counted <= EXACT_TOTAL)


def _is_behind(shape: _Shape) -> ColumnElement[bool]:
    """A row comparison, which the index of the order answers."""
    after_id: ColumnElement[Any] = bindparam("after_id", type_=BigInteger)
    if shape.sort is ListSort.NEWEST:
        return Registry.id < after_id
    key: ColumnElement[Any] = bindparam("after_key", type_=Text)
    if shape.sort is ListSort.EVENT_DATE:
        key = bindparam("after_key", type_=Date) if shape.position == "key" else _NO_DAY
    return tuple_(_KEYS[shape.sort], Registry.id) > tuple_(key, after_id)


def _position(sort: ListSort, row: tuple[Any, ...]) -> Position:
    key = row[-1] if sort is ListSort.NAME or (sort is ListSort.EVENT_DATE and row[_EVENT_DATE]) else None
    return Position(key, row[0])


def _summary(row: tuple[Any, ...], template: str) -> Summary:
    *facts, items = row[: len(_SUMMARY)]
    sums = Sums(items["wanted"], items["purchased"], items["fulfilled"])
    return Summary._make((*facts, template.replace("{slug}", facts[_SLUG]), items["image"], sums))


def _own(row: tuple[Any, ...]) -> tuple[Visibility, RegistryStatus, PrivateFields]:
    """Columns of the registrant's own list alone."""
    visibility, status, *private = [row[place] for place in _OWN_PLACES]
    return visibility, status, PrivateFields._make(private)
