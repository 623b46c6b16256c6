"""The job `audit-trail`."""

from datetime import date
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.audit_trail import read_audit_trail
from wishcraft.analytics.filters import parse_days


@job("audit-trail")
async def audit_trail(
    shop: str,
    actor: str | None = None,
    action: str | None = None,
    resource: str | None = None,
    resource_id: str | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    limit: Annotated[int, Field(ge=1, le=5000)] = 200,
) -> State[None]:
    """Show who changed what in a shop: its audit log, newest first. Prefect keeps the table, so it has no addresses.

    Args:
        shop: Domain of the shop, such as maple-and-pine.myshopify.com.
        actor: Only of this actor, such as key:0123456789ab, admin:1:42 or shop-settings.
        action: Only this action, such as settings.changed, registry.deleted or key.revoked.
        resource: Only of this kind of resource, such as registry, api_key, address or shop.
        resource_id: Only of the resource with this id, such as 100000001 for a registry. Needs the resource.
        first_day: Only on this day or later, such as 2026-11-01.
        last_day: Only on this day or earlier.
        limit: Maximum number of rows, the newest.
    """
    days = parse_days(first_day, last_day)
    page = await read_audit_trail(
        shop, days, limit, actor=actor, action=action, resource=resource, resource_id=resource_id
    )
    return await publish("audit-trail", page)
