"""Payloads of the webhook `customers/merge`. Its `errors` have names and are not read.

https://shopify.dev/docs/api/webhooks
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from wishcraft.errors import PayloadInvalid
from wishcraft.shopify.ids import from_global
from wishcraft.shopify.values import read_id


class Merge(NamedTuple):
    """Two customers, merged into one."""

    deleted: int
    kept: int


def read_merge(payload: Mapping[str, Any]) -> Merge | None:
    """The merge, None if it is not completed.

    Raises:
        PayloadInvalid: An id is missing or malformed.
    """
    if str(payload.get("status")).lower() != "completed":
        return None
    deleted, kept = (_customer(payload, f"admin_graphql_api_customer_{which}_id") for which in ("deleted", "kept"))
    return Merge(deleted, kept)


def _customer(payload: Mapping[str, Any], field: str) -> int:
    try:
        return read_id(from_global("Customer", str(payload.get(field))))
    except ValueError:
        raise PayloadInvalid(f"{field} is not an id of a customer.") from None
