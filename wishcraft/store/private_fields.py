"""What only its registrant sees of a registry: personal data, which no list for guests and no cache entry has."""

from typing import Any, Final, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from wishcraft.domain.private_fields import PrivateFields
from wishcraft.store.invitations import STATUS
from wishcraft.store.schema import Invitation, Registry

COLUMNS: Final[dict[str, ColumnElement[Any]]] = {
    "event_location": Registry.event_location.expression,
    "has_access_code": Registry.access_code_hash.is_not(None),
    "first_name": Registry.customer_first_name.expression,
    "last_name": Registry.customer_last_name.expression,
    "email": Registry.customer_email.expression,
    "co_registrants": Registry.co_registrants.expression,
    "statuses": select(func.coalesce(func.jsonb_object_agg(Invitation.recipient, STATUS), text("'{}'::jsonb")))
    .where(Invitation.registry_id == Registry.id)
    .correlate(Registry)
    .scalar_subquery(),
}
"""The fields of `PrivateFields` as columns of a query on `registries`."""
_FIND: Final = select(Registry.version, *(column.label(name) for name, column in COLUMNS.items()))


class VersionedFields(NamedTuple):
    """Private fields, and the version of the registry that they belong to."""

    version: int
    fields: PrivateFields


async def find(session: AsyncSession, shop_id: int, customer_id: int, slug: str) -> VersionedFields | None:
    """The private fields of the customer's registry with this slug."""
    query = _FIND.where(Registry.shop_id == shop_id, Registry.slug == slug, Registry.customer_id == customer_id)
    row = (await session.execute(query)).one_or_none()
    return VersionedFields(row[0], PrivateFields._make(row[1:])) if row else None
