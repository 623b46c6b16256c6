"""Private fields of a registry, for its registrant: personal data, in no list for guests and in no cache entry."""

from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.sql.elements import ColumnElement

from wishcraft.domain.private_fields import PrivateFields
from wishcraft.store.invitations import STATUS
from wishcraft.store.schema import Invitation, Registry
from wishcraft.store.statements import Call, Rows, Statement

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
_FIND: Final = Statement(
    select(Registry.version, *(column.label(name) for name, column in COLUMNS.items())).where(
        Registry.shop_id == bindparam("shop_id"),
        Registry.slug == bindparam("slug"),
        Registry.customer_id == bindparam("customer_id"),
    )
)


class VersionedFields(NamedTuple):
    """Private fields, and the version of the registry that they belong to."""

    version: int
    fields: PrivateFields


def find(shop_id: int, customer_id: int, slug: str) -> Call:
    """The query for the private fields of the customer's registry with this slug; `read` reads its rows."""
    return _FIND(shop_id=shop_id, slug=slug, customer_id=customer_id)


def read(rows: Rows) -> VersionedFields | None:
    """The registry's private fields; None if the customer has no such registry."""
    return VersionedFields(rows[0][0], PrivateFields._make(rows[0][1:])) if rows else None
