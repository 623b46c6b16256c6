"""Lists of registries with keyset pagination by id, newest first, each scoped to one shop."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.folding import fold
from wishcraft.domain.registries import EventType, RegistryStatus, Visibility
from wishcraft.store.invitations import STATUS
from wishcraft.store.schema import Invitation, Registry
from wishcraft.store.schema.registries import CoRegistrant
from wishcraft.store.share_links import SHARE_URL

_MAX_WORDS: Final = 6
_PUNCTUATION: Final = ",.;:!?"
"""It may follow a word of the query."""


class Search(NamedTuple):
    """Filters of a guest's search; None does not filter."""

    words: str | None = None
    """Each word must occur, as folded by `domain.folding`, in the title or a registrant's first name."""
    event_type: EventType | None = None
    event_from: date | None = None
    event_to: date | None = None
    """Both days included."""


class Summary(NamedTuple):
    """A registry as a list entry; `id` is the pagination key."""

    id: int
    slug: str
    title: str
    event_type: EventType
    event_date: date | None
    share_url: str


class OwnRegistry(NamedTuple):
    """A registry in its registrant's own list."""

    id: int
    slug: str
    title: str
    event_type: EventType
    event_date: date | None
    event_location: str | None
    visibility: Visibility
    status: RegistryStatus
    customer_email: str
    customer_first_name: str
    customer_last_name: str
    co_registrants: list[CoRegistrant]
    share_url: str
    statuses: dict[str, str]
    """An `InvitationStatus` for each normalised address; one without has expired long ago."""


async def list_public(
    session: AsyncSession, shop_id: int, limit: int, before: int | None = None, search: Search | None = None
) -> list[Summary]:
    """Public active registries that match the search, newest first, with ids below `before`."""
    *columns, _ = Summary._fields
    query = select(*(getattr(Registry, name) for name in columns), SHARE_URL).where(
        Registry.shop_id == shop_id,
        Registry.visibility == Visibility.PUBLIC,
        Registry.status == RegistryStatus.ACTIVE,
    )
    return [Summary(*row) for row in await _page(session, _filter(query, search or Search()), limit, before)]


async def list_own(
    session: AsyncSession, shop_id: int, customer_id: int, limit: int, before: int | None = None
) -> list[OwnRegistry]:
    """All registries of the customer, including archived ones, newest first, with ids below `before`."""
    statuses = (
        select(func.coalesce(func.jsonb_object_agg(Invitation.recipient, STATUS), text("'{}'::jsonb")))
        .where(Invitation.registry_id == Registry.id)
        .scalar_subquery()
    )
    *columns, _, _ = OwnRegistry._fields
    query = select(*(getattr(Registry, name) for name in columns), SHARE_URL, statuses).where(
        Registry.shop_id == shop_id, Registry.customer_id == customer_id
    )
    return [OwnRegistry(*row) for row in await _page(session, query, limit, before)]


def _filter(query: Select[Any], search: Search) -> Select[Any]:
    for word in (search.words or "").replace("\0", " ").split()[:_MAX_WORDS]:
        folded = fold(word).strip(_PUNCTUATION) or word
        query = query.where(Registry.search_text.contains(folded, autoescape=True))
    if search.event_type:
        query = query.where(Registry.event_type == search.event_type)
    if search.event_from:
        query = query.where(Registry.event_date >= search.event_from)
    if search.event_to:
        query = query.where(Registry.event_date <= search.event_to)
    return query


async def _page(session: AsyncSession, query: Select[Any], limit: int, before: int | None) -> Sequence[Any]:
    if before is not None:
        query = query.where(Registry.id < before)
    rows: Sequence[Any] = (await session.execute(query.order_by(Registry.id.desc()).limit(limit))).all()
    return rows
